package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
)

// run opens the target once and lets the stages take turns on it.
func (l *load) run(ctx context.Context, out io.Writer) (err error) {
	encrypt := slices.Contains(l.stages, "encrypt")
	d, err := engine.Open(l.path, l.engine, engine.Options{ReadOnly: !encrypt && !strings.HasSuffix(l.rw, "write")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	staged, err := l.open(d)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range staged {
			err = errors.Join(err, s.dev.Close())
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for round := range l.rounds {
		for _, i := range mathrand.Perm(len(staged)) {
			if err := l.turn(ctx, &staged[i], round, json.NewEncoder(out)); err != nil {
				return err
			}
		}
	}
	summarize(staged, json.NewEncoder(out))
	return ctx.Err()
}

// stage is one way to the target, and what it gave.
type stage struct {
	name string
	dev  blockdev.Device
	base int64 // where on dev the load lies, so that all stages use the same bytes
	runs []result
}

// open puts each stage over d; where there are several they all use what lies
// behind the header of a volume.
func (l *load) open(d blockdev.Device) (staged []stage, err error) {
	var base int64
	if len(l.stages) > 1 || l.stages[0] != "plain" {
		base = blockcrypt.DataOffset
	}
	for _, name := range l.stages {
		s := stage{name: name}
		switch name {
		case "plain":
			s.dev, s.base = bare{d}, base
		case "copy":
			s.dev, err = blockcrypt.NewCopying(d, blockcrypt.SectorSize, base)
		case "encrypt":
			s.dev, err = volume(d)
		}
		if err != nil {
			return nil, err
		}
		staged = append(staged, s)
	}
	if most := d.Info().Size - base; l.size == 0 || l.size > most {
		l.size = most
	}
	if l.size < int64(l.block) {
		return nil, fmt.Errorf("%s: %d bytes to use are less than one block of %d", l.path, l.size, l.block)
	}
	return staged, nil
}

// bare is the device itself, which the caller closes.
type bare struct{ blockdev.Device }

func (bare) Close() error { return nil }

func volume(d blockdev.Device) (*blockcrypt.Volume, error) {
	kek := make([]byte, blockcrypt.KEKSize)
	_, _ = rand.Read(kek) // documented never to fail
	if _, err := blockcrypt.Format(d, kek, blockcrypt.FormatOptions{Key: blockcrypt.KeyInfo{Store: "local"}, Force: true}); err != nil {
		return nil, err
	}
	return blockcrypt.Open(d, kek, blockcrypt.OpenOptions{})
}

// turn runs a stage once.
func (l *load) turn(ctx context.Context, s *stage, round int, out *json.Encoder) (err error) {
	arena, err := blockdev.NewArena(l.depth * roundUp(l.block))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, arena.Close()) }()
	q, err := s.dev.OpenQueue(blockdev.QueueOptions{Depth: l.depth, Buffers: arena, MaxTransfer: roundUp(l.block)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	r, err := newWorker(l, q, s.base, arena).measure(ctx)
	if err != nil {
		return err
	}
	r.Stage, r.Round, r.Engine = s.name, round, s.dev.Info().Engine
	s.runs = append(s.runs, *r)
	return out.Encode(r)
}

func roundUp(n int) int { return (n + blockdev.PageSize - 1) &^ (blockdev.PageSize - 1) }
