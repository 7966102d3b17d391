package kernel

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Lock names one kernel package to the byte.
type Lock struct {
	Package string // Debian's binary package
	Version string // its version
	Source  string // Debian's source package and version, for the image's bill of materials
	Path    string // below the root of a Debian mirror
	Size    int64  // bytes
	SHA256  string // of the package file, lower-case hex
	File    string // the lock file that named it, "" for none
}

const (
	boxFile    = "kernel.lock"
	oldestFile = "kernel-6.1.lock"
)

//go:embed kernel.lock
var boxLock string

//go:embed kernel-6.1.lock
var oldestLock string

// Pinned returns the box's kernel, which kernel.lock names.
func Pinned() (Lock, error) { return ParseLock(boxFile, boxLock) }

// Oldest returns the oldest kernel that the eBPF probes promise to work on.
// It is for tests.
func Oldest() (Lock, error) { return ParseLock(oldestFile, oldestLock) }

var seriesOf = regexp.MustCompile(`^linux-image-([0-9]+[.][0-9]+)[.]`)

// Series is the first two numbers of the kernel's version, as in "6.12".
func (l Lock) Series() string {
	if m := seriesOf.FindStringSubmatch(l.Package); m != nil {
		return m[1]
	}
	return ""
}

// DebVariable names the environment variable by which a builder gives a
// package file to use instead. The box's has the plain name.
func (l Lock) DebVariable() string {
	if l.File == oldestFile {
		return "KERNEL_DEB_" + strings.ReplaceAll(l.Series(), ".", "_")
	}
	return "KERNEL_DEB"
}

// ParseLock reads lines of "key value", '#' starting a comment line; name is
// the file's, for errors.
func ParseLock(name, text string) (Lock, error) {
	l := Lock{File: name}
	fields := map[string]*string{
		"package": &l.Package, "version": &l.Version, "source": &l.Source, "path": &l.Path, "sha256": &l.SHA256, "size": new(string),
	}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		field, known := fields[key]
		if !known || *field != "" {
			return Lock{}, fmt.Errorf("%s line %d: unknown or repeated key %q", name, n+1, key)
		}
		*field = strings.TrimSpace(value)
	}
	return l, l.check(name, fields)
}

// check sets Size and refuses an incomplete lock.
func (l *Lock) check(name string, fields map[string]*string) error {
	for key, value := range fields {
		if *value == "" {
			return fmt.Errorf("%s: %s is missing", name, key)
		}
	}
	size, err := strconv.ParseInt(*fields["size"], 10, 64)
	if err != nil || size <= 0 {
		return fmt.Errorf("%s: size %q is not a number of bytes", name, *fields["size"])
	}
	l.Size = size
	if sum, err := hex.DecodeString(l.SHA256); err != nil || len(sum) != 32 {
		return fmt.Errorf("%s: sha256 %q is not 64 hex digits", name, l.SHA256)
	}
	return nil
}
