// Package boot is PID 1 of a Sealbay box: it makes the file systems, loads the
// drivers of what is plugged in, mounts the boot drive's partition at /perm,
// runs the job that the kernel command line names and turns the machine off
// or restarts it cleanly.
//
// It never swaps, never lets a core file be written and keeps nothing on any
// drive but /perm: key bytes of the programs it starts stay in memory. A
// panic of it is a panic of the kernel, with the reason on the console.
package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sealbay/appliance/internal/uevent"
)

// exitBroken is reported when the job could not be run at all.
const exitBroken = 125

// Init boots the machine, runs its job and powers off. It returns only if
// the kernel refuses even that.
func Init(console io.Writer) error {
	b := &booting{console: console}
	os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
	os.Setenv("HOME", "/")
	code := exitBroken
	err := b.boot()
	if err == nil {
		code, err = b.job()
	}
	if err != nil {
		b.say("FAILED: %v", err)
	}
	b.report(code)
	return b.end()
}

// booting is a boot under way.
type booting struct {
	console  io.Writer
	params   params
	children *children
	host     *hostPort // nil without a host that listens
}

// say tells the operator. Lines start with the seconds since power-on.
func (b *booting) say(format string, args ...any) {
	fmt.Fprintf(b.console, "[%6.2f] sealbay: %s\n", uptime().Seconds(), fmt.Sprintf(format, args...))
}

// boot makes a machine in which programs can run.
func (b *booting) boot() error {
	if err := mountAll(systemMounts); err != nil {
		return err
	}
	b.children = newChildren()
	var err error
	if b.params, err = readParams("/proc/cmdline"); err != nil {
		return err
	}
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	b.say("Linux %s", release)
	if err := errors.Join(harden(), noSwap("/proc/swaps")); err != nil {
		return err
	}
	if err := b.plug(release); err != nil {
		return err
	}
	if b.host, err = openHostPort(); err != nil {
		return err
	}
	return b.mountPerm()
}

// plug loads the drivers of all devices, those that come later included.
func (b *booting) plug(release string) error {
	modules, err := ReadModules("/lib/modules/" + release)
	if err != nil {
		return err
	}
	events, err := uevent.Listen()
	if err != nil {
		return err
	}
	plugged := newPlugger(modules, func(err error) { b.say("%v", err) })
	go plugged.follow(events)
	plugged.coldplug("/sys/devices")
	plugged.settle(300*time.Millisecond, 10*time.Second)
	b.say("%d modules loaded", modules.Loaded())
	return nil
}
