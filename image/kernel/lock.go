package kernel

import (
	_ "embed"
	"encoding/hex"
	"fmt"
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
}

//go:embed kernel.lock
var lockFile string

// Pinned returns the kernel that kernel.lock names.
func Pinned() (Lock, error) { return ParseLock("kernel.lock", lockFile) }

// ParseLock reads lines of "key value", '#' starting a comment line; name is
// the file's, for errors.
func ParseLock(name, text string) (Lock, error) {
	var l Lock
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
