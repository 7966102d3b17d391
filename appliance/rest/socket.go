package rest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Listen opens the Unix socket at path, mode 0660, group AdminGroup, and lets
// ReadGroup in by an access control list. A socket that nobody answers on is
// replaced; one that answers, or a file that is no socket, is an error.
// The notes say what the system lacked, for the log.
func Listen(path string) (l *net.UnixListener, notes []string, err error) {
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, fmt.Errorf("socket folder: %w", err)
	}
	// Bound under a name of its own, opened up, then renamed: nobody can
	// connect while the mode is still the process's umask.
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("socket %s: %w", tmp, err)
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would unlink the temporary name
	notes, err = openUp(tmp)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), l.Close(), os.Remove(tmp))
	}
	return l, notes, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: there is a %s in its place; remove it or choose another path", path, kind(info))
	}
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("socket %s: another daemon answers on it", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s: cannot tell whether a daemon lives behind it: %w", path, err)
	}
	return os.Remove(path)
}

func kind(info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return "folder"
	case info.Mode().IsRegular():
		return "file"
	}
	return "special file"
}

// openUp sets mode, group and access control list of a fresh socket.
func openUp(path string) (notes []string, err error) {
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	admin, okAdmin := groupID(AdminGroup)
	reader, okReader := groupID(ReadGroup)
	if !okAdmin {
		notes = append(notes, "no group "+AdminGroup+": only root may use the socket for writing")
	} else if err := os.Chown(path, -1, admin); err != nil {
		notes = append(notes, fmt.Sprintf("group %s not set on the socket: %v", AdminGroup, err))
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, err
	}
	if !okReader {
		return append(notes, "no group "+ReadGroup+" on this system"), nil
	}
	if err := syscall.Setxattr(path, "system.posix_acl_access", aclFor(uint32(reader)), 0); err != nil {
		notes = append(notes, fmt.Sprintf("group %s not let in: %v", ReadGroup, err))
	}
	return notes, nil
}

func groupID(name string) (int, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	id, err := strconv.Atoi(g.Gid)
	return id, err == nil
}

// aclFor encodes the access control list u::rw g::rw g:reader:rw m::rw o::-
// in the form of linux/posix_acl_xattr.h: version 2, then tag, permission and
// ID of each entry, little endian.
func aclFor(reader uint32) []byte {
	const (
		version                              = 2
		userObj, groupObj, group, mask, rest = 0x01, 0x04, 0x08, 0x10, 0x20
		rw, none                             = 6, 0
		noID                                 = ^uint32(0)
	)
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{userObj, rw, noID}, {groupObj, rw, noID}, {group, rw, reader}, {mask, rw, noID}, {rest, none, noID}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}
