package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
)

// errNoTarget: the file to format is not there.
var errNoTarget = errors.New("no such file")

// withDrive opens the drive or file at path, runs do and closes it.
func withDrive(path string, write bool, do func(blockdev.Device) error) error {
	if write {
		if err := writable(path); err != nil {
			return fmt.Errorf("opening %s: %w", path, err)
		}
	}
	dev, err := direct.Open(path, direct.Options{ReadOnly: !write})
	if err != nil {
		return err
	}
	return errors.Join(do(dev), dev.Close())
}

// writable refuses a file whose mode forbids writing to everybody. The kernel
// would let root write to it all the same; whoever took the permission away
// meant it.
func writable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return reason(err)
	case st.Mode().IsRegular() && st.Mode().Perm()&0o222 == 0:
		return fmt.Errorf("%w (mode %04o)", blockdev.ErrReadOnly, st.Mode().Perm())
	}
	return nil
}

// reason drops the "stat PATH:" that os puts before an errno.
func reason(err error) error {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// names reports whether s names the drive at path: by the same path, or by
// the serial of the drive below it.
func names(s, path string) bool {
	return s == path || s != "" && s == serial(path)
}

// serial returns the serial number of a block device or of the drive that it
// is a partition of, or "".
func serial(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	dir := "/sys/class/block/" + filepath.Base(real)
	// virtio, NVMe, and both again from a partition.
	for _, f := range []string{"/serial", "/device/serial", "/../serial", "/../device/serial"} {
		if b, err := os.ReadFile(dir + f); err == nil {
			if s := strings.TrimSpace(string(b)); s != "" {
				return s
			}
		}
	}
	return ""
}

// underDev reports whether path is meant to be a device node.
func underDev(path string) bool {
	abs, err := filepath.Abs(path)
	return err == nil && strings.HasPrefix(abs, "/dev/")
}
