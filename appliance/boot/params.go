package boot

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// params are what the kernel command line asks of us.
type params struct {
	job  string // sealbay.job=NAME: the job to run
	perm string // sealbay.perm=LABEL: the boot drive's partition, or "none"
	end  string // sealbay.end=poweroff or reboot: what follows the job
}

func readParams(path string) (params, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return params{}, err
	}
	return parseParams(string(text))
}

func parseParams(cmdline string) (params, error) {
	p := params{job: "", perm: "sealbay-perm", end: "poweroff"}
	for word := range strings.FieldsSeq(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "sealbay.job":
			p.job = value
		case "sealbay.perm":
			p.perm = value
		case "sealbay.end":
			p.end = value
		default:
			if strings.HasPrefix(key, "sealbay.") {
				return params{}, fmt.Errorf("kernel command line: unknown parameter %s", key)
			}
		}
	}
	if p.end != "poweroff" && p.end != "reboot" {
		return params{}, fmt.Errorf("kernel command line: sealbay.end=%s: want poweroff or reboot", p.end)
	}
	return p, nil
}

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // only for the log
	}
	return time.Duration(ts.Nano())
}
