package target

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Identity is what the target calls itself. What it does not say is "".
type Identity struct {
	Path       string `json:"path"`
	Kind       string `json:"kind"` // "block device", "file", "temporary file"
	Model      string `json:"model,omitempty"`
	Serial     string `json:"serial,omitempty"`
	FileSystem string `json:"file_system,omitempty"` // of a file: type and device
	Backing    string `json:"backing,omitempty"`     // of a loop device

	sysfs string
}

// String names the target as errors do: its path, and its serial if it has one.
func (id *Identity) String() string {
	if id.Serial == "" {
		return id.Path
	}
	return fmt.Sprintf("%s (serial %s)", id.Path, id.Serial)
}

// identify asks sysfs what the block device at path is.
func identify(path string) (Identity, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return Identity{}, fmt.Errorf("target %s: %w", path, err)
	}
	id := Identity{Path: path, Kind: "block device", sysfs: sysfsOf(st.Rdev)}
	// A partition's drive is one folder up.
	for _, up := range []string{id.sysfs, id.sysfs + "/.."} {
		first(&id.Model, up+"/device/model")
		// virtio, NVMe, SCSI unit serial page (SPC-5 7.7.17) in this order.
		first(&id.Serial, up+"/serial", up+"/device/serial", up+"/device/vpd_pg80")
	}
	first(&id.Backing, id.sysfs+"/loop/backing_file")
	return id, nil
}

// sysfsOf returns the folder of a device number, as makedev(3) packs it.
func sysfsOf(dev uint64) string {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&^0xff
	return fmt.Sprintf("/sys/dev/block/%d:%d", major, uint32(minor))
}

// first sets v, if it is "", to the first of files that says anything.
func first(v *string, files ...string) {
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil || *v != "" {
			continue
		}
		if strings.HasSuffix(name, "vpd_pg80") && len(b) > 4 {
			b = b[4:] // header of the page
		}
		*v = strings.TrimSpace(strings.Trim(string(b), "\x00"))
	}
}

// partitions returns the names of a device's partitions.
func (id *Identity) partitions() (names []string) {
	if id.sysfs == "" {
		return nil
	}
	found, _ := filepath.Glob(id.sysfs + "/*/partition") // fails only on a bad pattern
	for _, p := range found {
		names = append(names, filepath.Base(filepath.Dir(p)))
	}
	return names
}

// fileSystem returns "ext4 on /dev/sda1" for the file system under path, from
// proc_pid_mountinfo(5): field 3 is the device number; after the separator "-"
// come type and source.
func fileSystem(path string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Dir(path), &st); err != nil {
		return ""
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close() // only read
	want := strings.TrimPrefix(sysfsOf(st.Dev), "/sys/dev/block/")
	for s := bufio.NewScanner(f); s.Scan(); {
		mount, source, ok := strings.Cut(s.Text(), " - ")
		fields, from := strings.Fields(mount), strings.Fields(source)
		if ok && len(fields) > 2 && fields[2] == want && len(from) > 1 {
			return from[0] + " on " + from[1]
		}
	}
	return ""
}
