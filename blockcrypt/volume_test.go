package blockcrypt_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blocktest"
)

func TestSmoke(t *testing.T) {
	d := blocktest.New(24<<20, blocktest.Options{})
	kek := bytes.Repeat([]byte{7}, 32)
	sum, err := blockcrypt.Format(d, kek, blockcrypt.FormatOptions{Key: blockcrypt.KeyInfo{Epoch: 1, Store: "local"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", sum)
	v, err := blockcrypt.Open(d, kek, blockcrypt.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte("marker!!"), 512)
	if _, err := v.WriteAt(p, 4096); err != nil {
		t.Fatal(err)
	}
	q := make([]byte, 8192)
	if _, err := v.ReadAt(q, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(q[4096:], p) {
		t.Fatal("not what was written")
	}
	if bytes.Contains(d.Image(), []byte("marker!!")) {
		t.Fatal("plain")
	}
	v.Close()
	if _, err := blockcrypt.Open(d, p[:32], blockcrypt.OpenOptions{}); !errors.Is(err, blockcrypt.ErrWrongKey) {
		t.Fatal(err)
	}
	f := filepath.Join(t.TempDir(), "f")
	os.WriteFile(f, d.Image(), 0o600)
	k, err := blockcrypt.RescueKey(d, kek)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(f+".key", k, 0o600)
	for _, args := range [][]string{{"luksDump", f}, {"open", "--test-passphrase", "--key-file", f + ".key", f}} {
		out, err := exec.Command("cryptsetup", args...).CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
	}
}
