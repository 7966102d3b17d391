package luks2

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// object is a JSON object. Values are object, []any, string, int64 or bool.
//
// encoding/json's struct decoding would match member names without regard to
// case and let the last of two equal ones win; two readers of one header must
// not be able to disagree, so this package reads tokens (3.1).
type object map[string]any

const maxDepth = 8

var errDepth = errors.New("nested too deeply")

// parse reads exactly one JSON object of printable ASCII.
func parse(text []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	o, ok := v.(object)
	if !ok {
		return nil, errors.New("not an object")
	}
	return o, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	t, err := d.Token()
	if err != nil {
		return nil, noEOF(err)
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return members(d, depth)
		}
		return elements(d, depth)
	case json.Number:
		return integer(t)
	case string:
		return t, printable(t)
	case bool:
		return t, nil
	}
	return nil, errors.New("null is not used")
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func members(d *json.Decoder, depth int) (object, error) {
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, noEOF(err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("member name is not a string")
		}
		if err := printable(name); err != nil {
			return nil, err
		}
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("member %.40q stands twice", name)
		}
		if o[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // the closing brace
	return o, noEOF(err)
}

func elements(d *json.Decoder, depth int) ([]any, error) {
	a := []any{}
	for d.More() {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := d.Token() // the closing bracket
	return a, noEOF(err)
}

// printable refuses what an escape may bring in although the text is ASCII.
func printable(s string) error {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return fmt.Errorf("string %.40q is not printable ASCII", s)
		}
	}
	return nil
}

func integer(n json.Number) (int64, error) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || strconv.FormatInt(i, 10) != string(n) {
		return 0, fmt.Errorf("number %.40q is not a plain integer", string(n))
	}
	return i, nil
}

// canonical appends v in the one form that the seal is computed over (5.2):
// members sorted by name, no white space, no escape that is not needed.
func canonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case object:
		return canonicalObject(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			dst = canonical(comma(dst, i), e)
		}
		return append(dst, ']')
	case string:
		return canonicalString(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	}
	panic(fmt.Sprintf("luks2: no canonical form of a %T", v))
}

func canonicalObject(dst []byte, o object) []byte {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(o)) {
		dst = canonicalString(comma(dst, i), name)
		dst = canonical(append(dst, ':'), o[name])
	}
	return append(dst, '}')
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

// canonicalString quotes s, which is printable ASCII.
func canonicalString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
