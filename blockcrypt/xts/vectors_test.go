package xts

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// vector is one sector under one key.
type vector struct {
	name          string
	key           []byte
	iv            uint64
	plain, cipher []byte
}

// checkVectors runs the vectors on every implementation.
func checkVectors(t *testing.T, vectors []vector, want int) {
	t.Helper()
	if len(vectors) != want {
		t.Fatalf("%d vectors of whole blocks, want %d", len(vectors), want)
	}
	eachImpl(t, func(t *testing.T, impl string) {
		for _, v := range vectors {
			c := newTest(t, impl, v.key, Options{SectorSize: len(v.plain)})
			wantCrypt(t, c, v.plain, v.cipher, v.iv)
			c.Close()
		}
	})
}

// TestIEEE1619 has the vectors of Annex B that are whole blocks: 1 to 14 and
// 19 of the standard.
func TestIEEE1619(t *testing.T) {
	f, err := os.Open("testdata/ieee1619.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var vectors []vector
	for r := range records(t, f, "vector") {
		iv, err := strconv.ParseUint(r["unit"], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, vector{r["vector"], unhex(t, r["key"]), iv, unhex(t, r["plain"]), unhex(t, r["cipher"])})
	}
	checkVectors(t, vectors, 15)
}

// TestCAVP has NIST's XTSGen vectors that number their data units (those with
// a free 128-bit tweak cannot be said with a 64-bit IV).
func TestCAVP(t *testing.T) {
	const dir = "/usr/lib/python3/dist-packages/cryptography_vectors/ciphers/AES/XTS/tweak-dataunitseqno"
	var vectors []vector
	skipped := 0
	for _, file := range []string{"XTSGenAES128.rsp", "XTSGenAES256.rsp"} {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatalf("%v: install the Debian package python3-cryptography-vectors", err)
		}
		defer f.Close()
		for r := range records(t, f, "COUNT") {
			bits, err := strconv.Atoi(r["DataUnitLen"])
			if err != nil {
				t.Fatal(err)
			}
			if bits%128 != 0 {
				skipped++
				continue
			}
			iv, err := strconv.ParseUint(r["DataUnitSeqNumber"], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			vectors = append(vectors, vector{file + " " + r["COUNT"], unhex(t, r["Key"]), iv, unhex(t, r["PT"]), unhex(t, r["CT"])})
		}
	}
	t.Logf("%d vectors, %d of partial blocks left out", len(vectors), skipped)
	checkVectors(t, vectors, cavpWhole)
}

// TestWycheproof has the AES-XTS vectors of whole blocks; ciphertext stealing
// is not for sectors.
func TestWycheproof(t *testing.T) {
	raw, err := fs.ReadFile(wycheproof.TestVectors, "aes_xts_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			Tests []struct {
				ID               int `json:"tcId"`
				Key, IV, Msg, CT string
				Result           string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	partial, longIV, aes192 := 0, 0, 0
	for _, g := range file.TestGroups {
		for _, tc := range g.Tests {
			key, iv, msg := unhex(t, tc.Key), unhex(t, tc.IV), unhex(t, tc.Msg)
			if tc.Result != "valid" {
				t.Fatalf("vector %d: result %q, expected only valid ones", tc.ID, tc.Result)
			}
			switch {
			case len(key) == 48: // LUKS2 and this package know 128 and 256
				aes192++
			case len(msg) == 0 || len(msg)%BlockSize != 0:
				partial++
			case len(iv) > 8 && strings.Trim(tc.IV[16:], "0") != "":
				longIV++
			default:
				vectors = append(vectors, vector{strconv.Itoa(tc.ID), key, littleEndian(iv), msg, unhex(t, tc.CT)})
			}
		}
	}
	t.Logf("%d vectors; left out: %d of partial blocks, %d with an IV over 64 bits, %d of AES-192",
		len(vectors), partial, longIV, aes192)
	checkVectors(t, vectors, wycheproofWhole)
}

// The numbers of whole-block vectors in the files, so that none goes missing
// unnoticed.
const (
	cavpWhole       = 1200
	wycheproofWhole = 26
)

func littleEndian(b []byte) (v uint64) {
	for i := min(len(b), 8) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// records yields the "name = value" lines of r in groups that start with the
// given name.
func records(t *testing.T, r io.Reader, first string) func(func(map[string]string) bool) {
	return func(yield func(map[string]string) bool) {
		var rec map[string]string
		s := bufio.NewScanner(r)
		for s.Scan() {
			name, value, ok := strings.Cut(s.Text(), " = ")
			if !ok {
				continue
			}
			if name == first {
				if rec != nil && !yield(rec) {
					return
				}
				rec = map[string]string{}
			}
			if rec != nil {
				rec[name] = value
			}
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		if rec != nil {
			yield(rec)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
