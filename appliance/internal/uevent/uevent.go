// Package uevent hears from the kernel when devices come and go.
package uevent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Event is one message of the kernel's kobject layer.
type Event struct {
	Action    string // "add", "remove", "change", ...
	Subsystem string // "block", "pci", ...
	Name      string // "vdb", without /dev; "" of a device without a node
	Modalias  string // by which its driver is found; "" if it needs none
}

// Lost is the Action of an event that stands for others that the socket's
// buffer had no room for: look at everything.
const Lost = "lost"

const (
	kernelGroup = 1 // the multicast group of the kernel itself; 2 is udev's
	maxMessage  = 16 << 10
)

// Socket is an open netlink socket (netlink(7), NETLINK_KOBJECT_UEVENT).
type Socket struct{ f *os.File }

// receiveBuffer holds the burst of a box with many drives, where the caller
// may exceed the system's limit; others get what the system allows.
const receiveBuffer = 16 << 20 // bytes

// Listen opens the socket. No privilege is needed.
func Listen() (*Socket, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listening for devices that come and go: %w", os.NewSyscallError("socket", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: kernelGroup}); err != nil {
		return nil, errors.Join(fmt.Errorf("listening for devices that come and go: %w", os.NewSyscallError("bind", err)), syscall.Close(fd))
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer) // else Lost comes sooner
	return &Socket{os.NewFile(uintptr(fd), "uevent")}, nil
}

// Receive calls heard for every event until the context ends, when it returns
// nil, or the socket fails. It closes the socket.
func (s *Socket) Receive(ctx context.Context, heard func(Event)) error {
	stop := context.AfterFunc(ctx, func() { s.f.Close() })
	defer func() {
		if stop() {
			s.f.Close()
		}
	}()
	buf := make([]byte, maxMessage)
	for {
		n, err := s.f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.ENOBUFS):
			heard(Event{Action: Lost})
		case err != nil:
			return fmt.Errorf("listening for devices that come and go: %w", err)
		default:
			if e, ok := Parse(buf[:n]); ok {
				heard(e)
			}
		}
	}
}

// Parse reads a message: "add@/devices/...", then KEY=value pairs, each ended
// by a zero byte. It reports false for what does not come from the kernel.
func Parse(msg []byte) (e Event, ok bool) {
	for i, field := range strings.Split(string(msg), "\x00") {
		key, value, found := strings.Cut(field, "=")
		if i == 0 || !found {
			continue
		}
		switch key {
		case "ACTION":
			e.Action = value
		case "DEVNAME":
			e.Name = value
		case "SUBSYSTEM":
			e.Subsystem = value
		case "MODALIAS":
			e.Modalias = value
		}
	}
	return e, e.Action != "" && e.Subsystem != ""
}
