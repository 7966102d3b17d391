package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	kmipgo "github.com/ovh/kmip-go"

	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/kmip"
	"sealbay/keyring/local"
)

// served is a node whose places of type KMS lead to a real key server.
type served struct {
	*node
	cfg kmip.Config
}

func (s *served) store(p keyring.Place) (keyring.Store, error) {
	if p.Type == keyring.Local {
		return local.New(s.folder), nil
	}
	cfg := s.cfg
	cfg.KeyID = p.KeyID
	return kmip.New(cfg)
}

// turn rotates to the key wanted and checks that the node is settled with it.
func (s *served) turn(key *keyring.MasterKey, old keyring.Place, to keyring.Store, want keyring.NewKey) (keyring.Place, *keyring.MasterKey, error) {
	s.t.Helper()
	from, err := s.store(old)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.journal.Rotate(s.t.Context(), keyring.Rotation{
		Key: key, Old: old, From: from, To: to, ToCfg: json.RawMessage(`{}`), Want: want, Drives: s.drives(), Commit: s.commit,
	})
	if err != nil {
		return old, key, err
	}
	now, info, err := to.Fetch(s.t.Context())
	if err != nil || info.Ref != res.New.Ref {
		s.t.Fatalf("%v, %v", info.Ref, err)
	}
	for _, d := range s.discs {
		if len(d.accepts) != 1 || !d.accepts[now.ID()] {
			s.t.Fatalf("%v accepts %v, current is %v", d.name, d.accepts, now)
		}
	}
	return res.New, now, nil
}

func (s *served) created(name string) keyring.NewKey {
	s.t.Helper()
	id, err := kmip.CreateKey(s.t.Context(), s.cfg, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return keyring.NewKey{KeyID: id}
}

// From local to PyKMIP, there to another key, and back.
func TestRotateWithPyKMIP(t *testing.T) {
	p := keyringtest.StartPyKMIP(t, keyringtest.Cert{Server: true})
	s := &served{newNode(t, keyring.Local, 3), p.Config(t, "placeholder", keyringtest.Cert{Name: "node"})}
	place, key := s.current()
	to, err := kmip.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		to   keyring.Store
		want keyring.NewKey
	}{{to, s.created("first")}, {to, s.created("second")}, {local.New(s.folder), keyring.NewKey{}}} {
		former := key
		place, key, err = s.turn(key, place, step.to, step.want)
		if err != nil {
			t.Fatal(err)
		}
		s.noTrace(former)
		if place.Type != step.to.Type() || key.Equal(former) {
			t.Errorf("%+v, %v", place, key)
		}
	}
	if place.Epoch != 4 || len(s.journal.Retained()) != 0 {
		t.Errorf("%+v, retained %+v", place, s.journal.Retained())
	}
}

// A KMS that hangs in the middle of an answer costs the rotation, nothing else.
func TestKMSHangsDuringRotation(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := &served{newNode(t, keyring.Local, 2), srv.Config(t, "key-1")}
	place, key := s.current()
	to, err := kmip.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []kmipgo.Operation{kmipgo.OperationDiscoverVersions, kmipgo.OperationGet, kmipgo.OperationGetAttributes} {
		srv.Fail(op, keyringtest.HangMidAnswer)
		if _, _, err := s.turn(key, place, to, keyring.NewKey{KeyID: "key-1"}); !errors.Is(err, keyring.ErrUnreachable) {
			t.Errorf("%v", err)
		}
		srv.Fail(op, keyringtest.None)
		s.settled("unchanged")
	}
	if _, _, err := s.turn(key, place, to, keyring.NewKey{KeyID: "key-1"}); err != nil {
		t.Fatal(err)
	}
}

// The KMS hangs when an interrupted rotation is to be recovered: the drives
// open meanwhile, and the next attempt after it is back ends it.
func TestKMSHangsDuringRecovery(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := &served{newNode(t, keyring.Local, 2), srv.Config(t, "key-1")}
	place, key := s.current()
	to, err := kmip.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.journal.Rotate(t.Context(), keyring.Rotation{Key: key, Old: place, From: local.New(s.folder), To: to, Want: keyring.NewKey{KeyID: "key-1"},
		Drives: s.drives(), Commit: func(context.Context, keyring.Place) error { return errors.New("cut here") }})
	if err == nil {
		t.Fatal("it was not cut")
	}
	s.start()
	r := s.recovery()
	r.Open = s.store
	srv.Fail(kmipgo.OperationGet, keyringtest.HangMidAnswer)
	if err := s.journal.Recover(t.Context(), r); !errors.Is(err, keyring.ErrUnreachable) || !s.journal.Interrupted() {
		t.Fatalf("%v, interrupted %v", err, s.journal.Interrupted())
	}
	s.everyDriveOpens("the KMS hangs")
	srv.Fail(kmipgo.OperationGet, keyringtest.None)
	if err := s.journal.Recover(t.Context(), r); err != nil || s.journal.Interrupted() {
		t.Fatalf("%v", err)
	}
	now, _, err := to.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.discs {
		if len(d.accepts) != 1 || !d.accepts[now.ID()] {
			t.Errorf("%v accepts %v", d.name, d.accepts)
		}
	}
	s.noTrace(key)
	s.noKeyFile()
}
