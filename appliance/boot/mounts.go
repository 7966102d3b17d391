package boot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one call of mount(2), on a folder that is made for it.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	options                string
}

const noPrograms = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// systemMounts are the kernel's own file systems, and memory for /run and /tmp.
// cilium/ebpf finds its tracepoints in tracefs; securityfs tells how far the
// kernel is locked down.
var systemMounts = []mount{
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"proc", "/proc", "proc", noPrograms, ""},
	{"sysfs", "/sys", "sysfs", noPrograms, ""},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666,mode=0620"},
	{"tmpfs", "/dev/shm", "tmpfs", noPrograms, "mode=1777"},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"tracefs", "/sys/kernel/tracing", "tracefs", noPrograms, "mode=0700"},
	{"securityfs", "/sys/kernel/security", "securityfs", noPrograms, ""},
	{"bpf", "/sys/fs/bpf", "bpf", noPrograms, "mode=0700"},
}

func mountAll(all []mount) error {
	for _, m := range all {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.options); err != nil {
		return fmt.Errorf("mounting %s (%s) at %s: %w", m.source, m.fstype, m.target, err)
	}
	return nil
}

// harden keeps memory out of core files, for this process and all it starts.
func harden() error {
	unix.Umask(0o022)
	return errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		os.WriteFile("/proc/sys/kernel/core_pattern", []byte("\n"), 0),
		os.WriteFile("/proc/sys/fs/suid_dumpable", []byte("0\n"), 0),
		unix.Sethostname([]byte("sealbay")),
	)
}

// noSwap refuses to go on where memory could be written to a drive.
func noSwap(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return err
	}
	if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(lines) > 1 {
		return fmt.Errorf("swap is on at %s: keys in memory could reach a drive", strings.Fields(lines[1])[0])
	}
	return nil
}
