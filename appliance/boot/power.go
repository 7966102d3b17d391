package boot

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// killWait is how long programs get to end by themselves.
const killWait = 5 * time.Second

// end stops every program, puts /perm on its drive and turns the machine off
// or restarts it.
func (b *booting) end() error {
	b.stopAll()
	if err := unmountPerm(); err != nil {
		b.say("%v", err)
	}
	how, word := unix.LINUX_REBOOT_CMD_POWER_OFF, "power off"
	if b.params.end == "reboot" {
		how, word = unix.LINUX_REBOOT_CMD_RESTART, "restart"
	}
	b.say("%s", word)
	unix.Sync()
	if err := unix.Reboot(how); err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

// stopAll asks all other processes to end, then makes them.
func (b *booting) stopAll() {
	if b.children == nil || b.children.none() {
		return
	}
	_ = unix.Kill(-1, unix.SIGTERM) // -1: all but PID 1; what it missed is seen below
	for end := time.Now().Add(killWait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if b.children.none() {
			return
		}
	}
	b.say("killing programs that did not end within %v", killWait)
	_ = unix.Kill(-1, unix.SIGKILL)
}
