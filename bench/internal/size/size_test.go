package size

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "64K": 64 << 10, "256MiB": 256 << 20, "2g": 2 << 30, "1GB": 1e9, "3TiB": 3 << 40, "7B": 7} {
		if n, err := Parse(s); err != nil || n != want {
			t.Errorf("%q is %d, %v; want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "0", "1.5G", "1X", "1MM", "1BM", "9999999T", "1iB2"} {
		if n, err := Parse(s); err == nil {
			t.Errorf("%q was read as %d", s, n)
		}
	}
}

func TestString(t *testing.T) {
	for n, want := range map[int64]string{1: "1 bytes", 512: "512 bytes", 4096: "4 KiB", 1 << 20: "1 MiB", 3 << 30: "3 GiB", 1<<20 + 1: "1048577 bytes"} {
		if got := String(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1", "256MiB", "1GB", "9223372036854775807", "8388608T", "1iB", "1BB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err == nil && n <= 0 {
			t.Errorf("%q is %d", s, n)
		}
		if err != nil {
			return
		}
		if again, err := Parse(strings.ReplaceAll(strings.TrimSuffix(String(n), "bytes"), " ", "")); err != nil || again != n {
			t.Errorf("%q is %d, printed %s, read back %d, %v", s, n, String(n), again, err)
		}
	})
}
