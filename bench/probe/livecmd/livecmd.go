// Package livecmd is the command "sealbench probe": a live latency histogram
// by stage of any block device.
package livecmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"sealbay/bench/probe"
)

// Name is the command's, for the program that offers it.
const Name = "probe"

// Summary is the command's line in the program's help.
const Summary = "live latency histogram by stage of any block device, until Ctrl-C"

const usage = `usage: sealbench probe --device D [--duration T] [--interval T] [--json FILE]

Shows how long requests wait for the driver (queue) and how long the driver and
the device take (device), of any block device, whoever uses it. Needs root.

  --device D     a disk, a partition, or a file: the device that holds it
  --duration T   end after this time, such as 30s (default: at Ctrl-C)
  --interval T   time between two displays (default 1s)
  --json FILE    write what was counted to this file at the end
`

type options struct {
	device   string
	duration time.Duration
	interval time.Duration
	json     string
}

// Run carries out the command until ctx ends or the duration is over, and
// returns its exit status: 0, 1 for an error, 2 for a wrong command line.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "sealbench probe: %v\n", err)
		return 2
	}
	if err := watch(ctx, o, stdout); err != nil {
		fmt.Fprintf(stderr, "sealbench probe: %v%s\n", err, remedy(err))
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet(Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are one line, printed by Run
	fs.StringVar(&o.device, "device", "", "")
	fs.DurationVar(&o.duration, "duration", 0, "")
	fs.DurationVar(&o.interval, "interval", time.Second, "")
	fs.StringVar(&o.json, "json", "", "")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, usage)
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: name the device with --device", fs.Arg(0))
	case o.device == "":
		err = errors.New("no device: name one with --device, such as --device /dev/sda")
	case o.interval < 100*time.Millisecond:
		err = fmt.Errorf("interval %v: must be at least 100ms", o.interval)
	case o.duration < 0:
		err = fmt.Errorf("duration %v: must not be negative", o.duration)
	}
	return o, err
}

func remedy(err error) string {
	if errors.Is(err, probe.ErrNoBlockDevice) {
		return "; name a block device (ls /sys/block)"
	}
	return ""
}

func watch(ctx context.Context, o options, stdout io.Writer) (err error) {
	l, err := probe.OpenLive(o.device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	s := &screen{w: stdout, device: l.Device(), requests: l.HasRequests(), terminal: isTerminal(stdout)}
	began := time.Now()
	last, err := show(ctx, l, s, began, o.interval)
	if err != nil || o.json == "" {
		return err
	}
	return writeJSON(o.json, s.device, time.Since(began), last)
}

// show displays what is counted every interval, and once more at the end.
func show(ctx context.Context, l *probe.Live, s *screen, began time.Time, interval time.Duration) (probe.Snapshot, error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last probe.Snapshot
	lastAt := began
	for ended := false; ; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		now, at := time.Now(), probe.Snapshot{}
		at, err := l.Read()
		if err != nil {
			return at, err
		}
		s.show(view{whole: at, recent: at.Since(last), elapsed: now.Sub(began), interval: now.Sub(lastAt), ended: ended})
		if ended || s.err != nil {
			return at, s.err
		}
		last, lastAt = at, now
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
