package boot

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseJob(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  [][]string
		wrong string
	}{
		{"", nil, ""},
		{"# nothing\n\n   # to do\n", nil, ""},
		{"a b\tc\n put  x ", [][]string{{"a", "b", "c"}, {"put", "x"}}, ""},
		{`run "two words" "a\"b" c`, [][]string{{"run", "two words", `a"b`, "c"}}, ""},
		{`run "" x`, [][]string{{"run", "", "x"}}, ""},
		{"ok\nrun \"open", nil, "line 2: a quote is not closed"},
	} {
		got, err := parseJob(c.text)
		if c.wrong != "" {
			if err == nil || err.Error() != c.wrong {
				t.Errorf("%q: error %v, want %q", c.text, err, c.wrong)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestWaitFor(t *testing.T) {
	dir := t.TempDir()
	late := filepath.Join(dir, "late")
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = os.WriteFile(late, nil, 0o600) // seen below
	}()
	if err := waitFor([]string{dir, late}, 10*time.Second); err != nil {
		t.Error(err)
	}
	err := waitFor([]string{dir, dir + "/never"}, 30*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "/never did not appear within 30ms") || strings.Contains(err.Error(), dir+",") {
		t.Errorf("error %v: should name what is missing, and only that", err)
	}
}
