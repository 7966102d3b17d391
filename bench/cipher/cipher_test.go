package cipher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// tiny is the whole table with samples too short to say anything.
func tiny() Plan {
	p := DefaultPlan()
	p.Rounds, p.Slice = 3, 20*time.Microsecond
	return p
}

func run(t *testing.T, p Plan) *Result {
	t.Helper()
	res, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestTableIsWhole: every implementation in every combination once, with
// every figure that applies.
func TestTableIsWhole(t *testing.T) {
	p := tiny()
	res := run(t, p)
	type key struct {
		impl   string
		cipher string
		op     Op
		sector int
		set    Set
		place  bool
	}
	seen := map[key]Row{}
	for _, row := range res.Rows {
		k := key{row.Impl, row.Cipher, row.Op, row.Sector, row.Set, row.InPlace}
		if _, twice := seen[k]; twice {
			t.Errorf("%+v stands there twice", k)
		}
		seen[k] = row
		if row.GBps <= 0 || row.Low > row.GBps || row.GBps > row.High {
			t.Errorf("%+v: %v GB/s with quartiles %v and %v", k, row.GBps, row.Low, row.High)
		}
	}
	for _, impl := range append(p.Impls, xcryptoImpl) {
		for _, cipher := range []string{"aes-128-xts", "aes-256-xts"} {
			for _, op := range p.Ops {
				for _, sector := range p.Sectors {
					for _, set := range p.Sets {
						for _, place := range []bool{false, true} {
							row, ok := seen[key{impl, cipher, op, sector, set, place}]
							if !ok {
								t.Errorf("%s %s %s %d %s in place %v is missing", impl, cipher, op, sector, set, place)
							}
							if ok && (impl != xcryptoImpl && row.XCryp == 0 || set != Single && row.Move == 0) {
								t.Errorf("%s %s %s %d %s has no ratio", impl, cipher, op, sector, set)
							}
							if ok && (set == Single) != (row.Call > 0) {
								t.Errorf("%s %s %s %d %s: %v ns a call", impl, cipher, op, sector, set, row.Call)
							}
							if ok && boundWidths[impl] != 0 && row.Bound == 0 {
								t.Errorf("%s %s %s %d %s has no bound", impl, cipher, op, sector, set)
							}
						}
					}
				}
			}
		}
	}
	for _, k := range []key{
		{"go", "memmove", Copy, 0, Cache, false}, {"go", "memmove", Copy, 0, Memory, false},
		{"go", "aes-256-gcm", Encrypt, 4096, Cache, false}, {"go", "aes-128-gcm", Decrypt, 512, Cache, false},
		{"minio/sio", "dare-aes-256-gcm", Encrypt, 65536, Cache, false}, {"minio/sio", "dare-aes-256-gcm", Decrypt, 65536, Cache, false},
	} {
		if _, ok := seen[k]; !ok {
			t.Errorf("%+v is missing", k)
		}
	}
}

// TestBoundIsABound: bare AES instructions are not slower than a cipher made
// of them. A tenth is left to noise, and a busy host gets several tries.
func TestBoundIsABound(t *testing.T) {
	if len(aesLoops()) == 0 {
		t.Skip("no bound is measured on this processor or under purego: nothing to hold")
	}
	p := tiny()
	p.Rounds, p.Slice, p.Sets, p.Sectors = 9, 100*time.Microsecond, []Set{Cache}, []int{4096}
	var wrong []string
	for range 5 {
		wrong = nil
		for _, row := range run(t, p).Rows {
			if row.Bound > 110 {
				wrong = append(wrong, fmt.Sprintf("%s %s %s: %.0f %% of the bound", row.Impl, row.Cipher, row.Op, row.Bound))
			}
			if boundWidths[row.Impl] != 0 && row.XCryp < 3 {
				wrong = append(wrong, fmt.Sprintf("%s %s %s: only %.1f times as fast as x/crypto", row.Impl, row.Cipher, row.Op, row.XCryp))
			}
		}
		if wrong == nil {
			return
		}
	}
	t.Errorf("five runs, none right; the last: %s", strings.Join(wrong, "; "))
}

func TestPrinters(t *testing.T) {
	p := tiny()
	p.Sectors, p.Sets, p.KeyBits = []int{65536}, []Set{Cache}, []int{256}
	res := run(t, p)
	var text, js bytes.Buffer
	if err := errors.Join(res.WriteText(&text), res.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"generic", "x/crypto", "minio/sio", "% of bound", "3 interleaved rounds"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	var back struct {
		Version int
		Rows    []map[string]any
	}
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Version != 1 || len(back.Rows) != len(res.Rows) {
		t.Fatalf("version %d with %d rows, want 1 with %d", back.Version, len(back.Rows), len(res.Rows))
	}
	for _, field := range []string{"cipher", "impl", "op", "gbps"} {
		if _, ok := back.Rows[0][field]; !ok {
			t.Errorf("a row lacks %q", field)
		}
	}
}

func TestBadPlans(t *testing.T) {
	for name, spoil := range map[string]func(*Plan){
		"no rounds":   func(p *Plan) { p.Rounds = 0 },
		"no time":     func(p *Plan) { p.Slice = 0 },
		"odd sector":  func(p *Plan) { p.Sectors = []int{520} },
		"AES-192":     func(p *Plan) { p.KeyBits = []int{192} },
		"no such set": func(p *Plan) { p.Sets = []Set{"disk"} },
		"no such one": func(p *Plan) { p.Impls = []string{"rot13"} },
	} {
		p := tiny()
		spoil(&p)
		if res, err := Run(t.Context(), p); err == nil || res != nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, tiny()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
