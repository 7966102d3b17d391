package rest

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// Privilege is what a route asks for.
type Privilege string

// The two privileges, and the groups that give them on the Unix socket.
const (
	PrivilegeRead  Privilege = "PRIVILEGE_ENCRYPTION_READ"
	PrivilegeWrite Privilege = "PRIVILEGE_ENCRYPTION_WRITE"

	AdminGroup = "sealbay-admin" // both
	ReadGroup  = "sealbay-read"  // PrivilegeRead
)

// Peer is who stands at the other end of a connection.
type Peer struct {
	Name       string
	UID        *uint32 // nil for a remote user
	PID        int32   // 0 for a remote user
	Privileges []Privilege
}

// Has reports whether the peer holds p; everybody holds the empty privilege.
func (p *Peer) Has(want Privilege) bool {
	return want == "" || slices.Contains(p.Privileges, want)
}

// unixPeer asks the kernel who opened the connection (unix(7), SO_PEERCRED).
func unixPeer(c *net.UnixConn) (*Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return nil, fmt.Errorf("peer credentials: %w", err)
	}
	if credErr != nil {
		return nil, fmt.Errorf("peer credentials: %w", credErr)
	}
	return peerOf(cred, groupsOf(cred)), nil
}

func peerOf(cred *syscall.Ucred, groups []string) *Peer {
	p := &Peer{Name: "uid " + strconv.Itoa(int(cred.Uid)), UID: &cred.Uid, PID: cred.Pid, Privileges: []Privilege{}}
	if u, err := user.LookupId(strconv.Itoa(int(cred.Uid))); err == nil {
		p.Name = u.Username
	}
	switch {
	case cred.Uid == 0 || slices.Contains(groups, AdminGroup):
		p.Privileges = []Privilege{PrivilegeRead, PrivilegeWrite}
	case slices.Contains(groups, ReadGroup):
		p.Privileges = []Privilege{PrivilegeRead}
	}
	return p
}

// groupsOf names the groups of the peer: the one that its process ran under
// and those that the user database gives its user now, so that taking somebody
// out of a group works at once. A user or group that the database does not
// know has no name and gives nothing.
func groupsOf(cred *syscall.Ucred) []string {
	ids := []string{strconv.Itoa(int(cred.Gid))}
	if u, err := user.LookupId(strconv.Itoa(int(cred.Uid))); err == nil {
		if more, err := u.GroupIds(); err == nil {
			ids = append(ids, more...)
		}
	}
	var names []string
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			names = append(names, g.Name)
		}
	}
	return names
}

type peerKey struct{}

// peerFrom returns the peer of a request's connection; nobody, without any
// privilege, where there is none.
func peerFrom(ctx context.Context) *Peer {
	if p, ok := ctx.Value(peerKey{}).(*Peer); ok {
		return p
	}
	return &Peer{Name: "nobody", Privileges: []Privilege{}}
}
