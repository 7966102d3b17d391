package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// target is the block device whose requests are watched.
type target struct {
	name     string // of the device itself: "sda1"
	disk     uint32 // dev_t of the whole disk, as the kernel packs it
	self     uint32 // dev_t of the device itself
	paths    bool   // NVMe multipath: the disk hands bios to hidden paths, which make requests
	first    uint64 // sectors of 512 bytes, the device's place on its disk
	last     uint64
	requests bool // the disk makes requests (blk-mq); else it takes bios
}

// deviceNumber packs a dev_t as the kernel does (include/linux/kdev_t.h).
func deviceNumber(dev uint64) uint32 { return unix.Major(dev)<<20 | unix.Minor(dev) }

// resolve finds the block device that path is, or whose file system holds it.
func resolve(path string) (target, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return target{}, fmt.Errorf("%s: %w", path, err)
	}
	dev := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = st.Rdev
	}
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, fmt.Errorf("%s: %w", path, ErrNoBlockDevice)
	}
	if err != nil {
		return target{}, fmt.Errorf("finding the block device of %s: %w", path, err)
	}
	return describe(dir, deviceNumber(dev))
}

// describe reads the device's folder in sysfs (Documentation/ABI/stable/sysfs-block).
func describe(dir string, dev uint32) (target, error) {
	t := target{name: filepath.Base(dir), disk: dev, self: dev, last: ^uint64(0)}
	if exists(filepath.Join(dir, "partition")) {
		if err := t.partition(dir); err != nil {
			return target{}, fmt.Errorf("partition %s: %w", t.name, err)
		}
		dir = filepath.Dir(dir)
	}
	t.requests = exists(filepath.Join(dir, "mq"))
	t.paths = !t.requests && hasPaths(filepath.Base(dir))
	return t, nil
}

// hasPaths reports whether a disk is the head of NVMe paths: nvme0n1 of
// nvme0c0n1 and others.
func hasPaths(disk string) bool {
	subsystem, namespace, ok := strings.Cut(strings.TrimPrefix(disk, "nvme"), "n")
	if !ok || !strings.HasPrefix(disk, "nvme") {
		return false
	}
	paths, err := filepath.Glob("/sys/block/nvme" + subsystem + "c*n" + namespace)
	return err == nil && len(paths) > 0
}

// hasQueue reports whether requests can be seen, so that waiting for the
// driver can be told from the driver's own time.
func (t *target) hasQueue() bool { return t.requests || t.paths }

// watched is the disk whose requests count, 0 for any.
func (t *target) watched() uint32 {
	if t.paths {
		return 0
	}
	return t.disk
}

func (t *target) partition(dir string) error {
	start, err := readNumber(filepath.Join(dir, "start"))
	if err != nil {
		return err
	}
	size, err := readNumber(filepath.Join(dir, "size"))
	if err != nil {
		return err
	}
	if size == 0 {
		return errors.New("has no sectors")
	}
	t.first, t.last = start, start+size-1
	var major, minor uint32
	dev, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev"))
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(string(dev), "%d:%d", &major, &minor); err != nil {
		return fmt.Errorf("device number %q of its disk: %w", dev, err)
	}
	t.disk = major<<20 | minor
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readNumber(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
