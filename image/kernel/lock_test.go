package kernel

import (
	"strings"
	"testing"
)

func TestPinned(t *testing.T) {
	for _, c := range []struct {
		pinned           func() (Lock, error)
		series, variable string
	}{
		{Pinned, "6.12", "KERNEL_DEB"},
		{Oldest, "6.1", "KERNEL_DEB_6_1"},
	} {
		l, err := c.pinned()
		if err != nil {
			t.Fatal(err)
		}
		if l.Series() != c.series || l.DebVariable() != c.variable || !strings.HasSuffix(l.Path, ".deb") || l.Size < 50<<20 {
			t.Errorf("%s: %+v", c.series, l)
		}
	}
}

func TestParseLock(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	good := "# c\npackage p\nversion 1\nsource s 1\npath pool/p.deb\nsize 10\nsha256 " + sum + "\n"
	want := Lock{"p", "1", "s 1", "pool/p.deb", 10, sum, "l"}
	if got, err := ParseLock("l", good); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for text, wrong := range map[string]string{
		"": "l: ",
		strings.Replace(good, "size 10\n", "", 1):      "l: size is missing",
		strings.Replace(good, "10", "ten", 1):          `l: size "ten" is not a number of bytes`,
		strings.Replace(good, "size 10", "size -1", 1): `l: size "-1"`,
		strings.Replace(good, sum, sum[1:], 1):         "is not 64 hex digits",
		good + "extra x\n":                             `l line 8: unknown or repeated key "extra"`,
		good + "size 11\n":                             `l line 8: unknown or repeated key "size"`,
	} {
		if _, err := ParseLock("l", text); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: error %v, want %q in it", text, err, wrong)
		}
	}
}
