package boot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// permDir is where the boot drive's partition is mounted. It is ext4: owner and
// mode of master.key must hold, and a rename must survive a power cut.
const permDir = "/perm"

// permWait is how long the boot drive may take to appear: a spinning drive
// behind a SAS expander needs some.
const permWait = 30 * time.Second

// mountPerm finds the partition by its label and mounts it.
func (b *booting) mountPerm() error {
	if b.params.perm == "none" {
		return nil
	}
	dev, err := waitForLabel(b.params.perm, permWait)
	if err != nil {
		return err
	}
	m := mount{dev, permDir, "ext4", noPrograms | unix.MS_NOATIME, "errors=remount-ro"}
	if err := m.do(); err != nil {
		return err
	}
	if err := os.Chmod(permDir, 0o700); err != nil {
		return err
	}
	b.say("state is on %s, mounted at %s", dev, permDir)
	return nil
}

// waitForLabel returns the only ext4 partition with that label. Two are
// refused: one of them may be somebody's copy.
func waitForLabel(label string, limit time.Duration) (string, error) {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		var found, seen []string
		paths, err := filepath.Glob("/sys/class/block/*")
		if err != nil {
			return "", err
		}
		for _, path := range paths {
			name := filepath.Base(path)
			seen = append(seen, name)
			if ext4Label("/dev/"+name) == label {
				found = append(found, "/dev/"+name)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return "", fmt.Errorf("%d partitions are labelled %s (%s): remove the drive that is not this box's boot drive", len(found), label, strings.Join(found, ", "))
		case time.Now().After(end):
			slices.Sort(seen)
			return "", fmt.Errorf("no ext4 partition labelled %s within %v; drives seen: %s", label, limit, strings.Join(seen, " "))
		}
	}
}

// ext4Label reads a device's label, or "" where there is no ext4. Superblock
// at byte 1024: magic at 0x38, s_volume_name[16] at 0x78.
func ext4Label(dev string) string {
	f, err := os.Open(dev)
	if err != nil {
		return ""
	}
	defer f.Close()
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, 1024); err != nil || super[0x38] != 0x53 || super[0x39] != 0xef {
		return ""
	}
	name, _, _ := bytes.Cut(super[0x78:0x88], []byte{0})
	return string(name)
}

// unmountPerm puts /perm on the drive for good.
func unmountPerm() error {
	unix.Sync()
	err := unix.Unmount(permDir, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // was not mounted
	}
	if err != nil { // something holds it: at least nothing may be written any more
		err = errors.Join(fmt.Errorf("unmounting %s: %w", permDir, err), unix.Mount("", permDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	return err
}
