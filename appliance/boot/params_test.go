package boot

import (
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	for _, c := range []struct {
		cmdline string
		want    params
		wrong   string // in the error
	}{
		{"console=ttyS0 quiet", params{perm: "sealbay-perm", end: "poweroff"}, ""},
		{"sealbay.job=firstrun sealbay.perm=none sealbay.end=reboot\n", params{job: "firstrun", perm: "none", end: "reboot"}, ""},
		{"sealbay.end=never", params{}, "sealbay.end=never: want poweroff or reboot"},
		{"sealbay.jbo=x", params{}, "unknown parameter sealbay.jbo"},
	} {
		got, err := parseParams(c.cmdline)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%q: error %v, want %q in it", c.cmdline, err, c.wrong)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.cmdline, got, err, c.want)
		}
	}
}
