package osdev

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// busy says who holds the block device at path, as far as the kernel tells.
func busy(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	sysfs := sysfsOf(st.Rdev)
	for _, dev := range withPartitions(sysfs) {
		if at := mountedAt(dev); at != "" {
			return fmt.Errorf("%w: mounted at %s", blockdev.ErrBusy, at)
		}
	}
	if holders := names(sysfs + "/holders/*"); len(holders) > 0 {
		return fmt.Errorf("%w: held by %s", blockdev.ErrBusy, strings.Join(holders, ", "))
	}
	return errHeld
}

// mounted reports whether the block device at path, or a partition of it, is
// mounted.
func mounted(path string) bool {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false
	}
	return slices.ContainsFunc(withPartitions(sysfsOf(st.Rdev)), func(dev string) bool { return mountedAt(dev) != "" })
}

// withPartitions returns "major:minor" of the device and of its partitions.
func withPartitions(sysfs string) (devs []string) {
	parts, _ := filepath.Glob(sysfs + "/*/partition") // fails only on a bad pattern
	for _, dir := range append([]string{sysfs}, parts...) {
		dev, err := os.ReadFile(strings.TrimSuffix(dir, "/partition") + "/dev")
		if err == nil {
			devs = append(devs, strings.TrimSpace(string(dev)))
		}
	}
	return devs
}

// mountedAt looks dev up in proc_pid_mountinfo(5): field 3 is major:minor,
// field 5 the mount point.
func mountedAt(dev string) string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close() // only read
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && fields[2] == dev {
			return fields[4]
		}
	}
	return ""
}

func names(pattern string) (base []string) {
	paths, _ := filepath.Glob(pattern) // fails only on a bad pattern
	for _, p := range paths {
		base = append(base, filepath.Base(p))
	}
	return base
}
