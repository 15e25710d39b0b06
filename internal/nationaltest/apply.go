package nationaltest

import (
	"encoding/json"
	"slices"
	"strings"

	"pli/codec/fhir"
)

// Apply carries out one operation of FHIRPath Patch on a resource, in place. A deletion
// of what is not there is no error (R4 §3.1.0.5.2); the path of the two others names one
// place.
func Apply(resource map[string]any, op fhir.Operation) error {
	steps := op.Path.Steps
	parents := []any{resource}
	for _, s := range steps[:len(steps)-1] {
		var next []any
		for _, p := range parents {
			next = append(next, children(p, s)...)
		}
		parents = next
	}
	last := steps[len(steps)-1]
	if op.Type == fhir.Insert {
		return insert(parents, last, op)
	}
	hits := 0
	for _, p := range parents {
		hits += len(children(p, last))
	}
	switch {
	case hits == 0 && op.Type == fhir.Delete:
		return nil
	case hits == 0:
		return refuse(400, "processing", "le chemin ne désigne rien")
	case hits > 1:
		return refuse(400, "processing", "le chemin désigne plusieurs éléments")
	}
	for _, p := range parents {
		if len(children(p, last)) == 1 {
			return change(p.(map[string]any), last, op)
		}
	}
	return nil
}

// children are the elements of a parent that a step keeps. "value" stands for any
// value[x].
func children(parent any, s fhir.Step) (out []any) {
	m, ok := parent.(map[string]any)
	if !ok {
		return nil
	}
	v, ok := m[key(m, s.Name)]
	if !ok {
		return nil
	}
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	for _, item := range list {
		if keeps(s, item) {
			out = append(out, item)
		}
	}
	if s.Index != nil {
		if *s.Index >= len(out) {
			return nil
		}
		return out[*s.Index : *s.Index+1]
	}
	return out
}

func keeps(s fhir.Step, item any) bool {
	if s.Where == nil {
		return true
	}
	m, ok := item.(map[string]any)
	return ok && m[s.Where.Field] == s.Where.Value
}

func key(m map[string]any, name string) string {
	if _, ok := m[name]; ok || name != "value" {
		return name
	}
	for k := range m {
		if strings.HasPrefix(k, "value") {
			return k
		}
	}
	return name
}

func insert(parents []any, s fhir.Step, op fhir.Operation) error {
	if len(parents) != 1 || s.Where != nil || s.Index != nil {
		return refuse(400, "processing", "une insertion désigne une liste")
	}
	m, ok := parents[0].(map[string]any)
	if !ok {
		return refuse(400, "processing", "une insertion désigne une liste")
	}
	list, _ := m[s.Name].([]any)
	if m[s.Name] != nil && list == nil || op.Index > len(list) {
		return refuse(400, "processing", "rang hors de la liste")
	}
	var v any
	if err := json.Unmarshal(op.Value.JSON, &v); err != nil {
		return refuse(400, "invalid", "valeur illisible")
	}
	m[s.Name] = slices.Insert(list, op.Index, v)
	return nil
}

// change replaces or deletes the only child that the step keeps.
func change(m map[string]any, s fhir.Step, op fhir.Operation) error {
	k := key(m, s.Name)
	var v any
	if op.Type == fhir.Replace {
		if err := json.Unmarshal(op.Value.JSON, &v); err != nil {
			return refuse(400, "invalid", "valeur illisible")
		}
	}
	list, many := m[k].([]any)
	if !many {
		delete(m, k)
		if op.Type == fhir.Replace {
			if s.Name == "value" && k != "value" {
				k = "value" + op.Value.Type
			}
			m[k] = v
		}
		return nil
	}
	kept := 0
	for i, item := range list {
		if !keeps(s, item) {
			continue
		}
		if s.Index != nil && kept != *s.Index {
			kept++
			continue
		}
		if op.Type == fhir.Replace {
			list[i] = v
		} else {
			m[k] = slices.Delete(list, i, i+1)
		}
		return nil
	}
	return nil
}
