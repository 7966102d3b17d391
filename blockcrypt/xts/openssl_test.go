package xts

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
)

// TestAgainstOpenSSL: random keys, IVs and lengths through OpenSSL's EVP
// interface (the openssl command has no XTS).
func TestAgainstOpenSSL(t *testing.T) {
	type sample struct {
		o          Options
		iv         uint64
		key, plain []byte
	}
	r := random(t, 30)
	var samples []sample
	var lines bytes.Buffer
	for i := range 60 {
		s := sample{o: Options{SectorSize: []int{512, 4096, 16 * (1 + int(r.Uint64()%200))}[i%3], IVStep: 1 + r.Uint64()%16}, iv: r.Uint64()}
		if i%4 == 0 {
			s.iv = -s.o.IVStep // wraps after the first sector
		}
		s.key, s.plain = randBytes(r, 32+32*(i%2)), randBytes(r, (1+int(r.Uint64()%40))*s.o.SectorSize)
		samples = append(samples, s)
		fmt.Fprintf(&lines, "%x %x %d %d %d\n", s.key, s.plain, s.o.SectorSize, s.iv, s.o.IVStep)
	}
	want := bytes.Fields(evp(t, &lines))
	if len(want) != len(samples) {
		t.Fatalf("%d ciphertexts of %d", len(want), len(samples))
	}
	eachImpl(t, func(t *testing.T, impl string) {
		for i, s := range samples {
			c := newTest(t, impl, s.key, s.o)
			wantCrypt(t, c, s.plain, unhex(t, string(want[i])), s.iv)
			c.Close()
		}
	})
}

// evp runs testdata/evp.py.
func evp(t *testing.T, lines *bytes.Buffer) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/evp.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = lines, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3 with libcrypto.so.3: %v: %s: install the Debian packages python3-minimal and libssl3", err, stderr.Bytes())
	}
	return out
}
