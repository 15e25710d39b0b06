package app

import _ "embed"

// Sample is a commented configuration file, generated from the comments of the
// fields of Config (go test ./app -run Sample -update).
//
//go:embed pli.sample.toml
var Sample string
