package luks2

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// member reads one object of the JSON, member by member. The first mismatch
// stays in err, which all members of one header share; after it every method
// returns zero values. done refuses what was not asked for.
type member struct {
	path  string
	in    object
	asked map[string]bool
	err   *error
}

func newMember(path string, in object, err *error) *member {
	return &member{path: path, in: in, asked: map[string]bool{}, err: err}
}

func (m *member) where(name string) string {
	if m.path == "" {
		return name
	}
	return m.path + "." + name
}

func (m *member) fail(name, got, want string) {
	if *m.err == nil {
		*m.err = &ProfileError{Where: m.where(name), Got: got, Want: want}
	}
}

// get returns the value of a member that must be there with type T.
func get[T any](m *member, name, kind string) (v T, ok bool) {
	m.asked[name] = true
	raw, there := m.in[name]
	if !there {
		m.fail(name, "missing", kind)
		return v, false
	}
	if v, ok = raw.(T); !ok {
		m.fail(name, describe(raw), kind)
	}
	return v, ok
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.60q", v)
	case object:
		return "an object"
	case []any:
		return "a list"
	}
	return fmt.Sprint(v)
}

func (m *member) has(name string) bool { _, ok := m.in[name]; return ok }

func (m *member) object(name string) *member {
	o, _ := get[object](m, name, "an object")
	return newMember(m.where(name), o, m.err)
}

func (m *member) text(name string) string {
	s, _ := get[string](m, name, "a string")
	return s
}

func (m *member) integer(name string) int64 {
	n, _ := get[int64](m, name, "a number")
	return n
}

// decimal reads a 64-bit number, which LUKS2 writes as a decimal string.
func (m *member) decimal(name string) uint64 {
	s, ok := get[string](m, name, "a decimal string")
	n, err := strconv.ParseUint(s, 10, 64)
	if ok && (err != nil || strconv.FormatUint(n, 10) != s) {
		m.fail(name, describe(s), "a decimal string")
	}
	return n
}

// base64 reads size bytes, or any number of them if size is negative.
func (m *member) base64(name string, size int) []byte {
	s, ok := get[string](m, name, "base64")
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if ok && (err != nil || size >= 0 && len(b) != size) {
		m.fail(name, describe(s), fmt.Sprintf("base64 of %d bytes", size))
	}
	return b
}

func (m *member) want(name, want string) {
	if got := m.text(name); got != want {
		m.fail(name, describe(got), describe(want))
	}
}

func (m *member) wantInt(name string, want int64) {
	if got := m.integer(name); got != want {
		m.fail(name, strconv.FormatInt(got, 10), strconv.FormatInt(want, 10))
	}
}

func (m *member) wantDecimal(name string, want uint64) {
	if got := m.decimal(name); got != want {
		m.fail(name, strconv.FormatUint(got, 10), strconv.FormatUint(want, 10))
	}
}

// ids reads a list of object names.
func (m *member) ids(name string) []string {
	list, _ := get[[]any](m, name, "a list of names")
	ids := make([]string, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			m.fail(name, "a list with "+describe(v), "a list of names")
		}
		ids[i] = s
	}
	return ids
}

// names returns the members' names: small numbers in their order first, as
// LUKS2 names its objects.
func (m *member) names() []string {
	return slices.SortedFunc(maps.Keys(m.in), func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		if a < b {
			return -1
		}
		return 1
	})
}

// done refuses members that nobody asked for.
func (m *member) done() {
	for _, name := range m.names() {
		if !m.asked[name] {
			m.fail(name, "unknown member", "")
		}
	}
}
