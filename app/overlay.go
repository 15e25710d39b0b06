package app

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// overlay sets fields from PLI_SECTION_KEY=value. Lists are parted by commas, maps
// are k=v parted by commas. A variable of a known section and an unknown key is an
// error, as it would be in the file.
func overlay(c *Config, environ []string) error {
	root := reflect.ValueOf(c).Elem()
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		rest, ours := strings.CutPrefix(name, "PLI_")
		if !ours {
			continue
		}
		section, key, _ := strings.Cut(strings.ToLower(rest), "_")
		sv, ok := fieldByTag(root, section)
		if !ok {
			continue // PLI_DEMO_DIR, PLI_TEST_DSN and the like are not configuration
		}
		fv, ok := fieldByTag(sv, key)
		if !ok {
			return fmt.Errorf("%s: there is no setting %s.%s", name, section, key)
		}
		if err := setText(fv, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func fieldByTag(v reflect.Value, tag string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") == tag {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func setText(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		v.SetBool(b)
		return err
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Slice:
		v.Set(reflect.ValueOf(split(s)))
	case reflect.Map:
		m := map[string]string{}
		for _, e := range split(s) {
			k, val, ok := strings.Cut(e, "=")
			if !ok {
				return fmt.Errorf("%q is not key=value", e)
			}
			m[k] = val
		}
		v.Set(reflect.ValueOf(m))
	default:
		return fmt.Errorf("a %s cannot be set from the environment", v.Kind())
	}
	return nil
}

func split(s string) []string {
	var out []string
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}
