package luks2

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"sealbay/blockcrypt/blocktest"
	"sealbay/blockcrypt/internal/locked"
	"sealbay/blockcrypt/xts"
)

// A golden image holds the first goldenHead bytes of a drive of MinSize bytes,
// then its first data sector, and opens for ever.
const goldenHead = keyslotsStart + 2*areaSize

var goldens = []struct {
	file   string
	keys   [][]byte
	newest KeyInfo
	seqID  uint64
	keySum string // SHA-256 of the volume key
}{
	{"v1-one-key.img.gz", [][]byte{keyA}, KeyInfo{Epoch: 1, Store: StoreLocal}, 1,
		"1b99a662f8078df6c629595229792954634e5fd4768573ddeb99a928efb214b0"},
	{"v1-two-keys.img.gz", [][]byte{keyB, keyA}, KeyInfo{Epoch: 2, Store: StoreKMS, KMIPKeyID: `a "key\id"/7`}, 2,
		"1b99a662f8078df6c629595229792954634e5fd4768573ddeb99a928efb214b0"},
}

const goldenText = "What stands here was written once and must be read for ever. "

func TestGoldenImages(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.file, func(t *testing.T) {
			dev := golden(t, g.file)
			h, err := Load(dev, false)
			check(t, err)
			if s := h.Slots(); len(s) != len(g.keys) || s[0].Key != g.newest || h.SeqID() != g.seqID {
				t.Fatalf("header says %+v, sequence number %d", s, h.SeqID())
			}
			for _, kek := range g.keys {
				key := opens(t, dev, kek)
				if sum := sha256.Sum256(key); hex.EncodeToString(sum[:]) != g.keySum {
					t.Fatalf("volume key has SHA-256 %x", sum)
				}
				c, err := xts.New(key, xts.Options{SectorSize: SectorSize, IVStep: 8})
				check(t, err)
				sector := readAt(t, dev, DataOffset, SectorSize)
				c.Decrypt(sector, sector, 0)
				if !bytes.HasPrefix(sector, []byte(goldenText)) {
					t.Fatalf("first sector reads %q", sector[:60])
				}
			}
			refuses(t, dev, keyC)
		})
	}
}

func golden(t testing.TB, file string) Device {
	f, err := os.Open(filepath.Join("testdata", file))
	check(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	b, err := io.ReadAll(z)
	check(t, err)
	if len(b) != goldenHead+SectorSize {
		t.Fatalf("%s holds %d bytes", file, len(b))
	}
	image := make([]byte, MinSize)
	copy(image, b[:goldenHead])
	copy(image[DataOffset:], b[goldenHead:])
	return drive(t, blocktest.FromImage(image, blocktest.Options{}))
}

var makeGolden = flag.Bool("make-golden", false, "write testdata/v1-*.img.gz anew; only for a new version of the format")

// TestMakeGolden wrote the images. Their keyslots' material is legible text
// but for the last stripe: any bytes will do for the others, and these
// compress to nothing.
func TestMakeGolden(t *testing.T) {
	if !*makeGolden {
		t.Skip("golden images are only written with -make-golden")
	}
	m := blocktest.New(MinSize, blocktest.Options{})
	dev := drive(t, m)
	check(t, Create(dev, keyA, CreateOptions{Key: goldens[0].newest}))
	key := opens(t, dev, keyA)
	c, err := xts.New(key, xts.Options{SectorSize: SectorSize, IVStep: 8})
	check(t, err)
	sector := bytes.Repeat([]byte(goldenText), 1+SectorSize/len(goldenText))[:SectorSize]
	c.Encrypt(sector, sector, 0)
	writeAt(t, dev, sector, DataOffset)
	legible(t, dev, key)
	saveGolden(t, goldens[0].file, m.Image())
	check(t, AddKey(dev, keyA, keyB, goldens[1].newest))
	legible(t, dev, key)
	saveGolden(t, goldens[1].file, m.Image())
	t.Logf("volume key: SHA-256 %x", sha256.Sum256(key))
}

// legible replaces the stripes of every keyslot.
func legible(t *testing.T, dev Device, key []byte) {
	h, err := Load(dev, false)
	check(t, err)
	for _, k := range h.meta.slots {
		for _, kek := range [][]byte{keyA, keyB} {
			secret, err := SlotSecret(kek, h.UUID())
			check(t, err)
			got, err := locked.New(KeySize)
			check(t, err)
			check(t, k.load(dev, secret, got.Bytes()))
			if bytes.Equal(got.Bytes(), key) {
				rewriteMaterial(t, dev, &k, secret, key)
			}
		}
	}
}

func rewriteMaterial(t *testing.T, dev Device, k *keyslot, secret, key []byte) {
	c, err := k.areaCipher(secret)
	check(t, err)
	area := make([]byte, areaSize)
	material := area[:materialSize]
	for i := range material {
		material[i] = "stripe by stripe "[i%17]
	}
	last := materialSize - 512
	tail := bytes.Clone(material[last:])
	c.Decrypt(material, material, 0)
	rest := make([]byte, KeySize)
	clear(material[materialSize-KeySize:])
	afMerge(rest, material) // the state before the last stripe
	for i := range rest {
		material[materialSize-KeySize+i] = rest[i] ^ key[i]
	}
	c.Encrypt(material, material, 0)
	if !bytes.Equal(tail[:512-KeySize], material[last:][:512-KeySize]) {
		t.Fatal("more changed than the last stripe")
	}
	writeAt(t, dev, area, int64(k.area))
}

func saveGolden(t *testing.T, file string, image []byte) {
	f, err := os.Create(filepath.Join("testdata", file))
	check(t, err)
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	check(t, err)
	_, err = z.Write(append(image[:goldenHead:goldenHead], image[DataOffset:DataOffset+SectorSize]...))
	check(t, err)
	check(t, z.Close())
	check(t, f.Close())
}
