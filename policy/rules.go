package policy

type verdict uint8

// Decide answers one question from the facts given and from nothing else: no I/O,
// no clock, no chance. A missing fact is a reason to deny. The zero Decision denies.
func Decide(q Question, f Facts) Decision { return Decision{} }

// RuleBook is every rule, in order.
func RuleBook() []Rule { return nil }

// RuleBookHash names this edition of the rules in traces.
func RuleBookHash() string { return "" }
