package luks2

import (
	"bytes"
	"testing"
)

// fakeHeaders is a drive of MinSize bytes with nothing but header copies.
type fakeHeaders [2 * HeaderSize]byte

func (f *fakeHeaders) Size() int64  { return MinSize }
func (f *fakeHeaders) Flush() error { return nil }
func (f *fakeHeaders) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(f)) {
		copy(p, f[off:])
	}
	return len(p), nil
}
func (f *fakeHeaders) WriteAt(p []byte, _ int64) (int, error) { panic("a reader wrote") }

// FuzzJSON puts any JSON under a right checksum. What the strict reader takes
// must mean the same to the writer, and to the lenient reader too.
func FuzzJSON(f *testing.F) {
	for _, g := range goldens {
		h, err := Load(golden(f, g.file), false)
		check(f, err)
		f.Add(h.fields.json)
		f.Add(bytes.Replace(h.fields.json, []byte(cipherName), []byte("cipher_null-ecb"), -1))
		f.Add(bytes.Replace(h.fields.json, []byte(`"config":`), []byte(`"config":{},"config":`), 1))
		f.Add(bytes.Replace(h.fields.json, []byte(`"json_size"`), []byte(`"requirements":{"mandatory":[]},"json_size"`), 1))
	}
	const uuid = "ac722c09-8bf5-4a12-8ed3-127c2c4c6888"
	f.Fuzz(func(t *testing.T, json []byte) {
		var dev fakeHeaders
		for i := range 2 {
			b, err := (&fields{seqID: 1, uuid: uuid, json: json}).encode(i)
			if err != nil {
				return
			}
			copy(dev[i*HeaderSize:], b)
		}
		h, err := Load(&dev, false)
		if err != nil {
			return
		}
		h.Slots()
		delete(h.tree["config"].(object), "requirements")
		delete(h.tree["config"].(object), "flags")
		if got, want := shape(h.meta.build()), shape(h.tree); !bytes.Equal(got, want) {
			t.Fatalf("read %s\nwould write %s", want, got)
		}
		if _, err := Load(&dev, true); err != nil {
			t.Fatalf("the strict reader takes what the lenient refuses: %v", err)
		}
	})
}

// shape is the canonical form without what the writer is free to choose: the
// names of digest and token, and the order of the digest's keyslots.
func shape(tree object) []byte {
	out := object{}
	for name, v := range tree {
		o := v.(object)
		switch name {
		case "tokens", "digests":
			for _, one := range o {
				one := one.(object)
				if name == "digests" {
					one["keyslots"] = int64(len(one["keyslots"].([]any)))
				}
				out[name] = one
			}
		default:
			out[name] = o
		}
	}
	return canonical(nil, out)
}

// FuzzBinary puts any binary header before a good JSON, with and without a
// right checksum, in either place.
func FuzzBinary(f *testing.F) {
	good := headers(f, golden(f, goldens[0].file))
	f.Add(good[:offEnd], false, true)
	f.Add(good[HeaderSize:][:offEnd], true, false)
	f.Fuzz(func(t *testing.T, binary []byte, second, mend bool) {
		var dev fakeHeaders
		b := dev[:HeaderSize]
		if second {
			b = dev[HeaderSize:]
		}
		copy(b, good[:HeaderSize])
		copy(b[:offEnd], binary)
		if mend {
			rechecksum(b)
		}
		h, err := Load(&dev, false)
		if err != nil {
			return
		}
		i := 0
		if second {
			i = 1
		}
		again, err := h.fields.encode(i)
		check(t, err)
		copy(again[offSalt:offUUID], b[offSalt:offUUID])
		copy(again[offPadding:offChecksum], b[offPadding:offChecksum])
		rechecksum(again)
		if !bytes.Equal(again, b) {
			t.Fatalf("read\n%q\nwould write\n%q", b[:offEnd], again[:offEnd])
		}
	})
}
