package boot

import (
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// children starts programs and takes in every process that ends, orphans that
// fell to PID 1 included. os/exec is no help here: its Wait and a wait for
// any process would steal from each other.
type children struct {
	mu      sync.Mutex // held from fork to entry, so that no end is missed; guards waiting
	waiting map[int]chan unix.WaitStatus
}

func newChildren() *children {
	c := &children{waiting: map[int]chan unix.WaitStatus{}}
	ended := make(chan os.Signal, 1) // one is enough: reap takes all there are
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			c.reap()
		}
	}()
	return c
}

// reap takes in all processes that have ended.
func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ch, ok := c.waiting[pid]; ok {
			delete(c.waiting, pid)
			ch <- status
		}
	}
}

// run starts a program, waits for its end and returns its exit code; 128 plus
// the signal's number if one killed it, as a shell does.
func (c *children) run(program string, args []string, attr *os.ProcAttr) (int, error) {
	ch := make(chan unix.WaitStatus, 1)
	c.mu.Lock()
	p, err := os.StartProcess(program, args, attr)
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("starting %s: %w", program, err)
	}
	c.waiting[p.Pid] = ch
	c.mu.Unlock()
	if err := p.Release(); err != nil {
		return 0, err
	}
	status := <-ch
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// none says that no process is left: all that ever ran came down to PID 1.
// (The kernel's own threads are children of kthreadd, not ours.)
func (c *children) none() bool {
	c.reap()
	var info unix.Siginfo
	return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
}
