package kmip

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sealbay/keyring"
)

func TestPollRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var times []time.Time
		statuses := []keyring.Status{keyring.Available, keyring.Available, keyring.Unreachable, keyring.Unreachable, keyring.Available}
		check := func(context.Context) keyring.Health {
			times = append(times, time.Now())
			return keyring.Health{Status: statuses[min(len(times), len(statuses))-1]}
		}
		var told []keyring.Status
		done := make(chan struct{})
		go func() {
			poll(ctx, 30*time.Second, keyring.Health{Status: keyring.Unreachable}, check, func(h keyring.Health) { told = append(told, h.Status) })
			close(done)
		}()
		time.Sleep(20 * time.Minute)
		cancel()
		<-done
		different := map[time.Duration]bool{}
		for i := 1; i < len(times); i++ {
			d := times[i].Sub(times[i-1])
			if d < 27*time.Second || d > 33*time.Second {
				t.Errorf("poll %d came after %v, want 27 to 33 s", i, d)
			}
			different[d] = true
		}
		if len(times) < 36 || len(different) < 20 {
			t.Errorf("%d polls at %d different distances: no jitter?", len(times), len(different))
		}
		if want := []keyring.Status{keyring.Available, keyring.Unreachable, keyring.Available}; len(told) != 3 || told[0] != want[0] || told[1] != want[1] || told[2] != want[2] {
			t.Errorf("told %v, want %v: once at each change", told, want)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte{0x42, 0, 0x7b, 1, 0, 0, 0, 0})
	f.Add([]byte{0x42, 0, 0x7b, 1, 0, 0, 0, 8, 0x42, 0, 0x7a, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if msg, err := decode(b); err == nil && msg == nil {
			t.Error("no message and no error")
		}
	})
}

// The decoder panics on this; it must not reach the daemon.
func TestDecoderPanic(t *testing.T) {
	// Response Message { Response Header { Protocol Version { Major, an Integer of 0 bytes } } }
	b := []byte{0x42, 0, 0x7b, 1, 0, 0, 0, 24, 0x42, 0, 0x7a, 1, 0, 0, 0, 16, 0x42, 0, 0x69, 1, 0, 0, 0, 8, 0x42, 0, 0x6a, 2, 0, 0, 0, 0}
	if _, err := decode(b); err != errMalformed {
		t.Errorf("got %v", err)
	}
}
