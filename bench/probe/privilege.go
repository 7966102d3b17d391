package probe

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// refused is the *UnavailableError behind the kernel's refusal to load a
// program, nil if that has another cause.
func refused(err error) error {
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		// It refuses a program with EACCES too, but says why: that is a fault of
		// the program, not of its user. All but one: of the helpers that we
		// call, lockdown takes this one away.
		if slices.ContainsFunc(verifier.Log, noReading.MatchString) {
			return &UnavailableError{Missing: []string{unlocked()}}
		}
		return nil
	}
	for _, no := range []unix.Errno{unix.EPERM, unix.EACCES} {
		if errors.Is(err, no) {
			return &UnavailableError{Missing: lacking(), Err: no} // the rest is advice for programmers
		}
	}
	return nil
}

// noReading is what the verifier says, from 6.10 on and before. The library
// takes bpf_probe_read where it finds that the other is not to be had.
var noReading = regexp.MustCompile(`(cannot use helper|unknown func) bpf_probe_read(_kernel)?#`)

// unlocked is what is missing on a kernel that keeps BPF programs from reading
// its memory.
func unlocked() string {
	const text = "a kernel that lets BPF programs read its memory: "
	if mode := lockdown(); mode != "" {
		return text + "lockdown is in mode " + mode + " (boot with lockdown=integrity or without)"
	}
	return text + "lockdown=confidentiality forbids it (/sys/kernel/security, where its mode stands, is not mounted)"
}

// lacking says, after the kernel refused us, what is missing as far as can be
// told (capabilities(7)).
func lacking() []string {
	if names := lackingCapabilities(); len(names) > 0 {
		return []string{strings.Join(names, " and ") + " (run as root)"}
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

// lockdown returns the mode in brackets (kernel_lockdown(7)), "" where the
// kernel has none or does not say. Mode integrity forbids nothing that we do.
func lockdown() string {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}
