package probe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lacking says, after the kernel refused us, what is missing as far as can be
// told (capabilities(7), kernel_lockdown(7)).
func lacking() []string {
	if names := lackingCapabilities(); len(names) > 0 {
		return []string{strings.Join(names, " and ") + " (run as root)"}
	}
	if mode := lockdown(); mode != "" && mode != "none" {
		return []string{"a kernel without lockdown (mode " + mode + ")"}
	}
	return []string{"permission for bpf(2), although the capabilities are there: a container's seccomp filter or user namespace may forbid it"}
}

func lackingCapabilities() (names []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return nil // could not tell
	}
	has := func(n int) bool { return data[n/32].Effective&(1<<(n%32)) != 0 }
	if has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	if !has(unix.CAP_BPF) {
		names = append(names, "CAP_BPF")
	}
	if !has(unix.CAP_PERFMON) {
		names = append(names, "CAP_PERFMON")
	}
	return names
}

// lockdown returns the mode in brackets, "" where the kernel has none or does
// not say.
func lockdown() string {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}
