// Package sysblock finds drives: it expands path patterns and asks sysfs what
// stands behind each path. It reads, and opens no drive.
package sysblock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
)

// Drive is one thing that a pattern matched.
type Drive struct {
	Path   string // as matched: the first in order, of several for one drive
	Serial string // the maker's; a file's or loop device's own name; may be empty
	Size   int64  // bytes
	// InUse says why the drive is not for us (it holds the running system, is
	// mounted, partitioned, a member of something else); empty when it is free.
	InUse string
	// ID tells one attachment from another: "8:16 27" (number and sequence,
	// which grows when another drive takes the number) or "file 2049:1234".
	ID string
}

// Finder looks for drives. The zero value asks the running system.
type Finder struct {
	// Sys and Proc replace /sys and /proc in tests.
	Sys, Proc string
}

func (f Finder) sys(p ...string) string {
	return filepath.Join(append([]string{cmp.Or(f.Sys, "/sys")}, p...)...)
}
func (f Finder) proc(p ...string) string {
	return filepath.Join(append([]string{cmp.Or(f.Proc, "/proc")}, p...)...)
}

// Find expands the patterns (filepath.Glob) and describes each drive once, in
// the order of paths. Devices that sysfs calls hidden (NVMe multipath shows
// such), partitions and drives without a medium are left out. keepOff are paths, files or
// folders, whose drives are never ours: the state folder, for one.
func (f Finder) Find(patterns []string, keepOff ...string) ([]Drive, error) {
	paths, err := expand(patterns)
	if err != nil {
		return nil, err
	}
	busy, err := f.busy(keepOff)
	if err != nil {
		return nil, err
	}
	var found []Drive
	seen := map[string]bool{}
	for _, path := range paths {
		d, err := f.describe(path, busy)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && (d == nil || seen[d.ID])) {
			continue // unplugged meanwhile, not a drive, or seen under another name
		}
		if err != nil {
			return nil, fmt.Errorf("drive %s: %w", path, err)
		}
		seen[d.ID] = true
		found = append(found, *d)
	}
	return found, nil
}

func expand(patterns []string) ([]string, error) {
	var all []string
	for _, p := range patterns {
		paths, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("drive pattern %q: %w", p, err)
		}
		all = append(all, paths...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// describe returns nil for what is no drive: folders, character devices,
// hidden devices, partitions, drives without a medium.
func (f Finder) describe(path string, busy map[string]string) (*Drive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	st := info.Sys().(*syscall.Stat_t) // always so on Linux
	switch {
	case info.Mode().IsRegular():
		return &Drive{Path: path, Serial: printable(filepath.Base(path)), Size: info.Size(), ID: fmt.Sprintf("file %d:%d", st.Dev, st.Ino)}, nil
	case info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0:
		return f.block(path, devNumber(st.Rdev), busy)
	}
	return nil, nil
}

func (f Finder) block(path, number string, busy map[string]string) (*Drive, error) {
	dir, err := filepath.EvalSymlinks(f.sys("dev/block", number))
	if err != nil {
		return nil, err
	}
	size, err := readInt(filepath.Join(dir, "size"))
	if err != nil {
		return nil, err
	}
	if readText(filepath.Join(dir, "hidden")) == "1" || size == 0 || exists(filepath.Join(dir, "partition")) {
		return nil, nil
	}
	const sysfsSector = 512 // bytes, whatever the drive's own
	d := &Drive{Path: path, Serial: f.serial(dir), Size: size * sysfsSector, ID: number + " " + readText(filepath.Join(dir, "diskseq")), InUse: busy[number]}
	if d.InUse == "" {
		d.InUse = structure(dir)
	}
	return d, nil
}

// structure says what is built on a block device, from its sysfs folder.
func structure(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "cannot be looked at: " + err.Error()
	}
	for _, e := range entries {
		if exists(filepath.Join(dir, e.Name(), "partition")) {
			return "is partitioned"
		}
	}
	if holders, err := os.ReadDir(filepath.Join(dir, "holders")); err == nil && len(holders) > 0 {
		return "is part of " + holders[0].Name()
	}
	return ""
}

// serial returns the first serial number that sysfs knows: virtio and others
// beside the device, NVMe and MMC below it, SCSI and ATA as vital product data
// page 80h (SPC-4 7.8.15: four bytes of header), loop devices by their file.
func (f Finder) serial(dir string) string {
	return printable(f.rawSerial(dir))
}

func (f Finder) rawSerial(dir string) string {
	for _, name := range []string{"serial", "device/serial"} {
		if s := readText(filepath.Join(dir, name)); s != "" {
			return s
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80")); err == nil && len(b) > 4 {
		if s := strings.Trim(string(b[4:]), " \x00"); s != "" {
			return s
		}
	}
	if s := readText(filepath.Join(dir, "loop/backing_file")); s != "" {
		return filepath.Base(s)
	}
	return ""
}

// printable replaces what could upset a terminal: serial numbers are the
// drive's word.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
