package luks2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"sealbay/blockcrypt/blocktest"
)

// LUKS2 2.1: the binary header, byte by byte.
func TestBinaryHeaderOffsets(t *testing.T) {
	f := &fields{seqID: 0x0102030405060708, label: "L", uuid: "U", subsystem: "S", json: []byte("{}")}
	for i, magic := range []string{"LUKS\xba\xbe\x00\x02", "SKUL\xba\xbe\x00\x02"} {
		b, err := f.encode(i)
		check(t, err)
		for off, want := range map[int]string{
			0: magic, 8: "\x00\x00\x00\x00\x00\x00\x40\x00\x01\x02\x03\x04\x05\x06\x07\x08L\x00", 72: "sha256\x00",
			168: "U\x00", 208: "S\x00", 256: "\x00\x00\x00\x00\x00\x00" + string([]byte{byte(i * 0x40), 0}), 4096: "{}\x00",
		} {
			if !bytes.HasPrefix(b[off:], []byte(want)) {
				t.Errorf("copy %d: at %d stands %q, want %q", i, off, b[off:off+len(want)], want)
			}
		}
		back, err := decode(b, i)
		check(t, err)
		if !sameHeader(f, back) || back.seqID != f.seqID {
			t.Errorf("copy %d came back as %+v", i, back)
		}
	}
}

func TestCreateOpens(t *testing.T) {
	dev := created(t)
	key, err := open(dev, keyA, false)
	check(t, err)
	if len(key) != KeySize || isZero(key) {
		t.Fatalf("volume key of %d bytes", len(key))
	}
	_, err = open(dev, keyB, false)
	wantErr(t, err, ErrWrongKey, "")
	h, err := Load(dev, false)
	check(t, err)
	if h.Label() != "bay 3" || h.SeqID() != 1 || len(h.Slots()) != 1 || h.Slots()[0].Key != local || h.DataOffset() != DataOffset {
		t.Fatalf("header says %q %d %+v", h.Label(), h.SeqID(), h.Slots())
	}
	check(t, Degraded(h.Copies()))
}

// Every bit of a whole header copy counts: it is either noticed in that copy,
// or, where both are hit, refused.
func TestFlippedByte(t *testing.T) {
	for name, off := range map[string]int64{
		"magic": 0, "version": 7, "size": 12, "seqid": 23, "label": 30, "algorithm": 72, "salt": 104,
		"uuid": 170, "place": 263, "padding": 300, "checksum": 448, "rest": 4000, "json": 4200, "json end": 16383,
	} {
		t.Run(name, func(t *testing.T) {
			for i := range int64(2) {
				dev := created(t)
				flip(t, dev, i*HeaderSize+off)
				before := headers(t, dev)
				_, err := open(dev, keyA, false)
				check(t, err)
				h, err := Load(dev, false)
				check(t, err)
				wantErr(t, Degraded(h.Copies()), ErrDegraded, copyNames[i])
				if !bytes.Equal(before, headers(t, dev)) {
					t.Fatal("reading rewrote a copy")
				}
				check(t, Repair(dev, keyA))
				h, err = Load(dev, false)
				check(t, err)
				check(t, Degraded(h.Copies()))
			}
			dev := created(t)
			flip(t, dev, off)
			flip(t, dev, HeaderSize+off)
			_, err := open(dev, keyA, false)
			wantErr(t, err, ErrCorrupt, "secondary: ")
		})
	}
}

func TestNewestCopyWins(t *testing.T) {
	dev := created(t)
	old := headers(t, dev)
	check(t, AddKey(dev, keyA, keyB, kms))
	for i := range 2 {
		now := headers(t, dev)
		copy(now[i*HeaderSize:], old[i*HeaderSize:(i+1)*HeaderSize])
		writeAt(t, dev, now, 0)
		h, err := Load(dev, false)
		check(t, err)
		if h.SeqID() != 2 {
			t.Fatalf("with a stale %s copy the header is of %d, want 2", copyNames[i], h.SeqID())
		}
		wantErr(t, Degraded(h.Copies()), errStale, copyNames[i])
		check(t, Repair(dev, keyB))
	}
}

func TestCopiesThatDiffer(t *testing.T) {
	dev := created(t)
	b := readAt(t, dev, HeaderSize, HeaderSize)
	b[offLabel] ^= 1
	rechecksum(b)
	writeAt(t, dev, b, HeaderSize)
	_, err := Load(dev, false)
	wantErr(t, err, ErrCorrupt, "differ under one sequence number 1")
}

func TestNoHeader(t *testing.T) {
	blank := drive(t, blocktest.New(MinSize, blocktest.Options{}))
	_, err := Load(blank, false)
	wantErr(t, err, ErrNoHeader, "")
	tiny := drive(t, blocktest.New(8192, blocktest.Options{}))
	_, err = Load(tiny, false)
	wantErr(t, err, ErrNoHeader, "")
	text := drive(t, blocktest.New(MinSize, blocktest.Options{}))
	writeAt(t, text, bytes.Repeat([]byte("hello!!!"), 4096), 0)
	_, err = Load(text, false)
	wantErr(t, err, ErrNoHeader, "")
}

// A drive that lost its primary copy to something else is damaged, not blank.
func TestPrimaryOverwritten(t *testing.T) {
	dev := created(t)
	writeAt(t, dev, bytes.Repeat([]byte("hello!!!"), 512), 0)
	_, err := open(dev, keyA, false)
	check(t, err)
	flip(t, dev, HeaderSize+5000)
	_, err = open(dev, keyA, false)
	wantErr(t, err, ErrCorrupt, "primary: no LUKS2 magic; secondary: checksum")
}

func TestOtherVersions(t *testing.T) {
	for want, change := range map[string]func([]byte){
		"LUKS version is 1": func(b []byte) { b[7] = 1 },
		"header size is 65536": func(b []byte) {
			binary.BigEndian.PutUint64(b[offSize:], 65536)
		},
	} {
		dev := created(t)
		forgeBinary(t, dev, change)
		_, err := Load(dev, false)
		wantErr(t, err, ErrNotSealbay, want)
	}
}

func TestTruncatedDrive(t *testing.T) {
	m := blocktest.New(MinSize+4096, blocktest.Options{})
	check(t, Create(drive(t, m), keyA, CreateOptions{Key: local}))
	image := m.Image()
	_, err := Load(drive(t, blocktest.FromImage(image[:MinSize], blocktest.Options{})), false)
	wantErr(t, err, ErrTruncated, "17825792 bytes, want at least 17829888")
	_, err = open(drive(t, blocktest.FromImage(append(image, image...), blocktest.Options{})), keyA, false)
	check(t, err)
}

// 5.2: the canonical form is one, whatever JSON library wrote it.
func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":[true,false,"x"]}`:            `{"a":[true,false,"x"],"b":1}`,
		` { "a" : "\/\u0041\"\\" , "B" : { } }  `: `{"B":{},"a":"/A\"\\"}`,
		`{"n":-9223372036854775808,"m":[]}`:       `{"m":[],"n":-9223372036854775808}`,
	} {
		o, err := parse([]byte(in))
		check(t, err)
		if got := string(canonical(nil, o)); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestJSONSyntax(t *testing.T) {
	for _, in := range []string{
		``, `[]`, `1`, `{`, `{"a":1`, `{"a":1}}`, `{"a":1}{"b":2}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `{"a":null}`, `{"a":1.0}`,
		`{"a":1e3}`, `{"a":-0}`, `{"a":9223372036854775808}`, `{"a":"\u0000"}`, `{"a":"\u00e4"}`, `{"\u00e4":1}`, `{"a":"\ud800"}`, `{a:1}`,
		`{"a":01}`, `{"a" 1}`, `{"a":[1,]}`, `{"a":1,}`, `{"a":[[[[[[[[[[]]]]]]]]]]}`,
	} {
		if o, err := parse([]byte(in)); err == nil {
			t.Errorf("%s was taken as %s", in, canonical(nil, o))
		}
	}
}
