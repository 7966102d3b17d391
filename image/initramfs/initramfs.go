// Package initramfs writes the file system that the kernel unpacks into memory
// at boot: a newc cpio archive (Documentation/driver-api/early-userspace/
// buffer-format.rst). The same files give the same bytes, whoever packs them
// and when.
//
// Archives may be put one behind the other; of a file that is in several the
// last one stands. That is how a test adds itself to a finished image.
package initramfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// File is one file of the archive.
type File struct {
	Name   string      // absolute path in the image
	Mode   os.FileMode // permissions
	From   string      // path on the build machine, or
	Data   []byte      // its bytes, or
	Target string      // of a symbolic link
}

// Write packs files, with the folders they need, owned by root and dated 1970.
func Write(w io.Writer, files []File) error {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	format, err := cpio.Format("newc")
	if err != nil {
		return err
	}
	out := format.Writer(w)
	ino := uint64(0)
	put := func(r cpio.Record) error {
		ino++
		r = cpio.MakeReproducible(r)
		r.Ino, r.NLink = ino, 1
		return out.WriteRecord(r)
	}
	for _, dir := range folders(files) {
		if err := put(cpio.Directory(dir, 0o755)); err != nil {
			return err
		}
	}
	for i, f := range files {
		if i > 0 && files[i-1].Name == f.Name {
			return fmt.Errorf("%s is in the image twice", f.Name)
		}
		r, err := record(f)
		if err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
		if err := put(r); err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
	}
	return cpio.WriteTrailer(out)
}

func record(f File) (cpio.Record, error) {
	if !path.IsAbs(f.Name) || path.Clean(f.Name) != f.Name {
		return cpio.Record{}, fmt.Errorf("not a clean absolute path")
	}
	if f.Target != "" {
		return cpio.Symlink(f.Name, f.Target), nil
	}
	data := f.Data
	if f.From != "" {
		var err error
		if data, err = os.ReadFile(f.From); err != nil {
			return cpio.Record{}, err
		}
	}
	return cpio.Record{ReaderAt: bytes.NewReader(data), Info: cpio.Info{
		Name: f.Name, Mode: cpio.S_IFREG | uint64(f.Mode.Perm()), FileSize: uint64(len(data)),
	}}, nil
}

// folders lists every folder on the way to the files, parents first.
func folders(files []File) []string {
	seen := map[string]bool{}
	for _, f := range files {
		for dir := path.Dir(f.Name); dir != "/" && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	var all []string
	for dir := range seen {
		all = append(all, dir)
	}
	slices.Sort(all)
	return all
}
