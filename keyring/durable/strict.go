package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LooseError says that someone besides the owner could read or replace a file
// or folder, and how to mend it.
type LooseError struct {
	Path  string
	Found string // "mode 0644"
	Want  string // "mode 0600"
	Mend  string // a command for the shell
}

// Error names all four.
func (e *LooseError) Error() string {
	return fmt.Sprintf("%s: %s, want %s; mend it with: %s", e.Path, e.Found, e.Want, e.Mend)
}

// walk opens abs from the root downwards, one element at a time, so that what
// was checked is what is used.
func walk(abs string, uid uint32) (*os.Root, error) {
	dir, err := os.OpenRoot("/")
	if err != nil {
		return nil, err
	}
	path := "/"
	for _, name := range strings.Split(strings.Trim(abs, "/"), "/") {
		path = filepath.Join(path, name)
		next, err := step(dir, path, name, uid, path == abs)
		if err = errors.Join(err, dir.Close()); err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

func step(dir *os.Root, path, name string, uid uint32, last bool) (*os.Root, error) {
	fi, err := dir.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("opening folder %s: %w", path, errors.Unwrap(err))
	}
	if err := checkFolder(path, statOf(fi), uid, last); err != nil {
		return nil, err
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("opening folder %s: %w", path, errors.Unwrap(err))
	}
	now, err := next.Lstat(".")
	if err == nil && !os.SameFile(fi, now) {
		err = errors.New("it was replaced while being opened")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening folder %s: %w", path, err), next.Close())
	}
	return next, nil
}

// checkFolder: the last folder is the owner's alone; on the way to it nobody
// but root and the owner may rename things, for which the sticky bit will do.
func checkFolder(path string, st Stat, uid uint32, last bool) error {
	perm := st.Mode.Perm()
	switch {
	case st.Mode&fs.ModeSymlink != 0:
		return &LooseError{path, "a symbolic link", "a folder reached without one", "name the folder itself, see: readlink -f " + quote(path)}
	case !st.Mode.IsDir():
		return fmt.Errorf("opening folder %s: not a folder", path)
	case last && st.UID != uid:
		return &LooseError{path, owner(st.UID), owner(uid), fmt.Sprintf("chown %d %s", uid, quote(path))}
	case last && perm != 0o700:
		return &LooseError{path, mode(perm), "mode 0700", "chmod 0700 " + quote(path)}
	case st.UID != 0 && st.UID != uid:
		return &LooseError{path, owner(st.UID), owner(0), "chown 0 " + quote(path)}
	case perm&0o022 != 0 && st.Mode&fs.ModeSticky == 0:
		return &LooseError{path, mode(perm), "no write permission for group and others", "chmod go-w " + quote(path)}
	}
	return nil
}

func checkFile(path string, st Stat, uid uint32) error {
	switch {
	case st.Mode&fs.ModeSymlink != 0:
		return &LooseError{path, "a symbolic link", "the file itself", fmt.Sprintf("t=$(readlink -f %[1]s) && rm %[1]s && mv \"$t\" %[1]s", quote(path))}
	case !st.Mode.IsRegular():
		return &LooseError{path, "not a regular file", "one", "ls -l " + quote(path)}
	case st.UID != uid:
		return &LooseError{path, owner(st.UID), owner(uid), fmt.Sprintf("chown %d %s", uid, quote(path))}
	case st.Mode.Perm() != 0o600:
		return &LooseError{path, mode(st.Mode.Perm()), "mode 0600", "chmod 0600 " + quote(path)}
	case st.Links != 1:
		return &LooseError{path, fmt.Sprintf("%d links", st.Links), "one link",
			fmt.Sprintf("find / -xdev -samefile %s, then remove the others", quote(path))}
	}
	return nil
}

// quote makes of a path one word for the shell.
func quote(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

func mode(m fs.FileMode) string { return fmt.Sprintf("mode %04o", m) }

func owner(uid uint32) string {
	if uid == 0 {
		return "owner root"
	}
	return fmt.Sprintf("owner uid %d", uid)
}
