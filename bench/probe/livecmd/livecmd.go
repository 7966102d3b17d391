// Package livecmd shows a live latency histogram by stage of any block device:
// what "sealbench probe" does.
package livecmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"sealbay/bench/probe"
)

// Options says what to show.
type Options struct {
	Device   string        // a block device, or a file on one
	Duration time.Duration // 0: until the context ends
	Interval time.Duration // between two displays
	JSON     string        // file for what was counted, "" for none, "-" for a line of JSON per display
}

// Check returns the error of options that cannot be served.
func (o *Options) Check() error {
	switch {
	case o.Device == "":
		return errors.New("no device: name one with --device, such as --device /dev/sda")
	case o.Interval < 100*time.Millisecond:
		return fmt.Errorf("--interval %v: must be at least 100ms", o.Interval)
	case o.Duration < 0:
		return fmt.Errorf("--duration %v: must not be negative", o.Duration)
	}
	return nil
}

// Watch shows what passes through the device until ctx ends or the duration is
// over; neither is an error.
func Watch(ctx context.Context, o Options, stdout io.Writer) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	l, err := probe.OpenLive(o.Device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	if o.JSON == toStdout {
		return stream(ctx, l, o.Interval, stdout)
	}
	s := &screen{w: stdout, device: l.Device(), requests: l.HasRequests(), terminal: isTerminal(stdout)}
	began := time.Now()
	last, err := show(ctx, l, func(v view) error { s.show(v); return s.err }, began, o.Interval)
	if err != nil || o.JSON == "" {
		return err
	}
	return writeJSON(o.JSON, s.device, time.Since(began), last)
}

// toStdout as the JSON file's name.
const toStdout = "-"

// stream writes a line of JSON every interval, the first as soon as requests
// are counted: whoever reads it then knows that it began.
func stream(ctx context.Context, l *probe.Live, interval time.Duration, w io.Writer) error {
	lines := json.NewEncoder(w)
	line := func(v view) error { return lines.Encode(newDocument(l.Device(), v.elapsed, v.whole)) }
	if err := line(view{}); err != nil {
		return err
	}
	_, err := show(ctx, l, line, time.Now(), interval)
	return err
}

// show displays what is counted every interval, and once more at the end.
func show(ctx context.Context, l *probe.Live, display func(view) error, began time.Time, interval time.Duration) (probe.Snapshot, error) {
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
		err = display(view{whole: at, recent: at.Since(last), elapsed: now.Sub(began), interval: now.Sub(lastAt), ended: ended})
		if ended || err != nil {
			return at, err
		}
		last, lastAt = at, now
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
