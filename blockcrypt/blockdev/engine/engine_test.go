package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blockdev/uring"
	"sealbay/blockcrypt/blocktest"
)

func TestOpen(t *testing.T) {
	path := blocktest.File(t, "", 1<<20)
	without := func() error { return errors.New("no io_uring: a test says so") }
	with := func() error { return nil }
	for _, c := range []struct {
		name      string
		available func() error
		want, log string
	}{
		{Auto, with, uring.Engine, ""},
		{Auto, without, direct.Engine, "using blocking I/O instead of io_uring"},
		{direct.Engine, without, direct.Engine, ""},
		{uring.Engine, with, uring.Engine, ""},
	} {
		var log bytes.Buffer
		d, err := open(path, c.name, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, c.available)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Info().Engine; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: engine %s, want %s", c.name, got, c.want)
		}
		if lines := strings.Count(log.String(), "\n"); !strings.Contains(log.String(), c.log) || (lines == 1) != (c.log != "") {
			t.Errorf("%s: log %q, want one line with %q", c.name, &log, c.log)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	const want = `: no I/O engine "libaio": want one of auto, direct, io_uring`
	if _, err := Open(path, "libaio", Options{}); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ...%s", err, want)
	}
}
