package sysblock

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// busy maps device numbers to the reason why they are not ours: what is
// mounted, what swap lies on, what the keepOff paths lie on, and every whole
// drive below one of these.
func (f Finder) busy(keepOff []string) (map[string]string, error) {
	reasons := map[string]string{}
	if err := f.addMounts(reasons); err != nil {
		return nil, err
	}
	if err := f.addSwaps(reasons); err != nil {
		return nil, err
	}
	for _, path := range keepOff {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			return nil, fmt.Errorf("finding the drive of %s: %w", path, err)
		}
		f.add(reasons, devNumber(st.Dev), "is the boot drive")
	}
	return reasons, nil
}

// addMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)): field 3 is the
// device number, field 5 the place, the field after " - " the type. btrfs
// shows an anonymous number, so the source is looked up as well.
func (f Finder) addMounts(reasons map[string]string) error {
	file, err := os.Open(f.proc("self/mountinfo"))
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		head, tail, _ := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(head)
		if len(fields) < 5 {
			return fmt.Errorf("%s: line %q not understood", file.Name(), s.Text())
		}
		reason := "is mounted on " + fields[4]
		if fields[4] == "/" {
			reason = "is the boot drive"
		}
		f.add(reasons, fields[2], reason)
		if source := strings.Fields(tail); len(source) > 1 && strings.HasPrefix(source[1], "/dev/") {
			f.addNode(reasons, source[1], reason)
		}
	}
	return s.Err()
}

func (f Finder) addSwaps(reasons map[string]string) error {
	b, err := os.ReadFile(f.proc("swaps"))
	if os.IsNotExist(err) {
		return nil // a kernel without swap
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "/dev/") {
			f.addNode(reasons, fields[0], "is used for swap")
		}
	}
	return nil
}

// addNode adds the device behind a node in /dev, if there is one.
func (f Finder) addNode(reasons map[string]string, node, reason string) {
	var st syscall.Stat_t
	if syscall.Stat(node, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFBLK {
		f.add(reasons, devNumber(st.Rdev), reason)
	}
}

// add gives the reason to a device, to the drive of which it is a partition
// and to everything that it is built on (slaves in sysfs).
func (f Finder) add(reasons map[string]string, number, reason string) {
	if reasons[number] != "" {
		return
	}
	dir, err := filepath.EvalSymlinks(f.sys("dev/block", number))
	if err != nil {
		return // not a block device: tmpfs, overlay
	}
	reasons[number] = reason
	if exists(filepath.Join(dir, "partition")) {
		f.add(reasons, readText(filepath.Join(filepath.Dir(dir), "dev")), reason)
	}
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil {
		return // partitions have none
	}
	for _, s := range slaves {
		f.add(reasons, readText(filepath.Join(dir, "slaves", s.Name(), "dev")), reason)
	}
}

// devNumber writes a dev_t the way sysfs does (makedev(3)).
func devNumber(dev uint64) string {
	major := (dev>>8)&0xfff | (dev>>32)&^uint64(0xfff)
	minor := dev&0xff | (dev>>12)&^uint64(0xff)
	return strconv.FormatUint(major, 10) + ":" + strconv.FormatUint(minor&0xffffffff, 10)
}

// readText returns a sysfs attribute without white space around it; empty
// when it is not there.
func readText(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \n\x00")
}

func readInt(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
