package luks2

import (
	"bytes"
	"testing"
)

// Every way to differ from the profile that a valid checksum can carry is
// refused by name, before any key is tried, and nothing is written.
func TestProfileIsExact(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"encryption":"aes-xts-plain64","iv_tweak"`, `"encryption":"cipher_null-ecb","iv_tweak"`, `segments.0.encryption is "cipher_null-ecb", the profile has "aes-xts-plain64"`},
		{`"encryption":"aes-xts-plain64","iv_tweak"`, `"encryption":"capi:cipher_null","iv_tweak"`, "segments.0.encryption"},
		{`"encryption":"aes-xts-plain64","iv_tweak"`, `"encryption":"aes-xts-plain","iv_tweak"`, "segments.0.encryption"},
		{`"encryption":"aes-xts-plain64","key_size"`, `"encryption":"cipher_null-ecb","key_size"`, "keyslots.0.area.encryption"},
		{`"sector_size":4096`, `"sector_size":512`, "segments.0.sector_size is 512, the profile has 4096"},
		{`"sector_size":4096`, `"sector_size":"4096"`, "segments.0.sector_size"},
		{`"sector_size":4096`, `"sector_size":4096,"flags":["backup-final"]`, "segments.0.flags"},
		{`"sector_size":4096`, `"sector_size":4096,"integrity":{"type":"none"}`, "segments.0.integrity"},
		{`"size":"dynamic"`, `"size":"1048576"`, `segments.0.size is "1048576", the profile has "dynamic"`},
		{`"iv_tweak":"0"`, `"iv_tweak":"8"`, "segments.0.iv_tweak"},
		{`"offset":"16777216"`, `"offset":"16781312"`, "segments.0.offset is 16781312"},
		{`"offset":"16777216"`, `"offset":"0"`, "segments.0.offset"},
		{`"type":"crypt"`, `"type":"linear"`, "segments.0.type"},
		{`"segments":{"0":`, `"segments":{"1":`, "segments.0 is missing"},
		{`"segments":{"0":`, `"segments":{"1":{"type":"linear"},"0":`, "segments.* is 2 segments"},
		{`"segments":["0"]`, `"segments":["0","1"]`, "digests.0.segments"},
		{`"key_size":64,"type":"luks2"`, `"key_size":32,"type":"luks2"`, "keyslots.0.key_size is 32"},
		{`"key_size":64,"offset"`, `"key_size":32,"offset"`, "keyslots.0.area.key_size is 32"},
		{`"type":"luks2"`, `"type":"reencrypt"`, `keyslots.0.type is "reencrypt"`},
		{`"type":"luks2"`, `"type":"luks2","priority":2`, "keyslots.0.priority"},
		{`"stripes":4000`, `"stripes":1`, "keyslots.0.af.stripes is 1"},
		{`"iterations":1000,"salt"`, `"iterations":1,"salt"`, "keyslots.0.kdf.iterations"},
		{`"iterations":1000,"salt"`, `"iterations":4000000000,"salt"`, "keyslots.0.kdf.iterations"},
		{`"type":"pbkdf2"},"key_size"`, `"type":"argon2id","time":4,"memory":1048576,"cpus":4},"key_size"`, `keyslots.0.kdf.type is "argon2id"`},
		{`"offset":"32768"`, `"offset":"0"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":"16384"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":"16777216"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":"18446744073709551615"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":"36864"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":"032768"`, "keyslots.0.area.offset"},
		{`"offset":"32768"`, `"offset":32768`, "keyslots.0.area.offset"},
		{`"json_size":"12288"`, `"json_size":"16384"`, "config.json_size"},
		{`"keyslots_size":"8355840"`, `"keyslots_size":"16744448"`, "config.keyslots_size is 16744448"},
		{`"keyslots_size":"8355840"`, `"keyslots_size":"8355840","requirements":{"mandatory":["online-reencrypt-v2"]}`, "config.requirements.mandatory"},
		{`"keyslots_size":"8355840"`, `"keyslots_size":"8355840","requirements":{"optional":[]}`, "config.requirements.optional: unknown member"},
		{`"keyslots_size":"8355840"`, `"keyslots_size":"8355840","flags":["allow-discards"]`, "config.flags"},
		{`"type":"sealbay"`, `"type":"sealbay2"`, `tokens.0.type is "sealbay2"`},
		{`"type":"sealbay","version":1`, `"type":"sealbay","version":2`, "tokens.0.version is 2"},
		{`"tokens":{"0":`, `"tokens":{"1":{"type":"luks2-keyring","keyslots":["0"]},"0":`, `tokens.1.type is "luks2-keyring"`},
		{`"store":"local"`, `"store":"cloud"`, `key store: "cloud"`},
		{`"store":"local"`, `"store":"local","note":""`, "tokens.0.keys.0.note: unknown member"},
		{`"keyslots":["0"],"salt"`, `"keyslots":[],"salt"`, "digests.0.keyslots"},
		{`"config":`, `"extra":1,"config":`, "extra: unknown member"},
		{`"config":`, `"Config":{},"config":`, "Config: unknown member"},
		{`"digests":{"0":`, `"digests":{"1":{},"0":`, "digests.* is 2 digests"},
	} {
		t.Run(c.new, func(t *testing.T) {
			dev := created(t)
			forge(t, dev, c.old, c.new)
			before := headers(t, dev)
			_, err := open(dev, keyA, false)
			wantErr(t, err, ErrNotSealbay, c.want)
			wantErr(t, AddKey(dev, keyA, keyB, kms), ErrNotSealbay, "")
			if !bytes.Equal(before, headers(t, dev)) {
				t.Fatal("a refused header was written to")
			}
		})
	}
}

// What the profile leaves open is under the seal: whoever changes it without
// the volume key is found out by whoever has it.
func TestSealHolds(t *testing.T) {
	for name, tamper := range map[string]func(*testing.T, Device){
		"epoch": func(t *testing.T, d Device) { forge(t, d, `"epoch":"1"`, `"epoch":"9"`) },
		"store": func(t *testing.T, d Device) { forge(t, d, `"store":"local"`, `"store":"kms"`) },
		"key id": func(t *testing.T, d Device) {
			forge(t, d, `"kmip_key_id":"","store":"local"`, `"kmip_key_id":"7","store":"kms"`)
		},
		"size":          func(t *testing.T, d Device) { forge(t, d, `"size":"17825792"`, `"size":"17825000"`) },
		"hmac":          func(t *testing.T, d Device) { forge(t, d, `"hmac":"`, `"hmac":"AAAA`); trimMAC(t, d) },
		"requirements":  func(t *testing.T, d Device) { forge(t, d, `"json_size"`, `"requirements":{},"json_size"`) },
		"label":         func(t *testing.T, d Device) { forgeBinary(t, d, func(b []byte) { b[offLabel] = 'x' }) },
		"subsystem":     func(t *testing.T, d Device) { forgeBinary(t, d, func(b []byte) { b[offSubsystem] = 'x' }) },
		"seqid":         func(t *testing.T, d Device) { forgeBinary(t, d, func(b []byte) { b[offSeqID+7]++ }) },
		"seqid both":    func(t *testing.T, d Device) { bumpSeqID(t, d) },
		"slot's new id": renameSlot,
	} {
		t.Run(name, func(t *testing.T) {
			dev := created(t)
			tamper(t, dev)
			before := headers(t, dev)
			_, err := open(dev, keyA, false)
			wantErr(t, err, ErrEdited, "")
			wantErr(t, AddKey(dev, keyA, keyB, kms), ErrEdited, "")
			wantErr(t, KillKey(dev, keyA, keyB), ErrEdited, "")
			wantErr(t, Repair(dev, keyA), ErrEdited, "")
			if !bytes.Equal(before, headers(t, dev)) {
				t.Fatal("a refused header was written to")
			}
			_, err = open(dev, keyA, true)
			check(t, err)
		})
	}
}

// trimMAC gives an HMAC with four characters in front its length back.
func trimMAC(t *testing.T, d Device) {
	h, err := ReadCopies(d)
	check(t, err)
	mac := h[0].tree["tokens"].(object)["0"].(object)["hmac"].(string)
	forge(t, d, mac, mac[:40]+mac[44:])
}

func bumpSeqID(t *testing.T, d Device) {
	forge(t, d, `"generation":"1"`, `"generation":"2"`)
	forgeBinary(t, d, func(b []byte) { b[offSeqID+7]++ })
}

func renameSlot(t *testing.T, d Device) {
	forge(t, d, `"keyslots":["0"],"salt"`, `"keyslots":["5"],"salt"`)
	forge(t, d, `"keyslots":{"0"`, `"keyslots":{"5"`)
	forge(t, d, `"keyslots":["0"],"size"`, `"keyslots":["5"],"size"`)
}

// A new UUID changes the slot secret: the key no longer fits.
func TestChangedUUID(t *testing.T) {
	dev := created(t)
	forgeBinary(t, dev, func(b []byte) { b[offUUID] ^= 1 })
	_, err := open(dev, keyA, false)
	if err == nil {
		t.Fatal("opened under another UUID")
	}
	dev = created(t)
	forgeBinary(t, dev, func(b []byte) { copy(b[offUUID:], bytes.ToUpper(b[offUUID:offUUID+36])) })
	_, err = open(dev, keyA, false)
	wantErr(t, err, ErrNotSealbay, "UUID is")
}

// JSON that two readers could understand differently is no JSON (3.1).
func TestAmbiguousJSON(t *testing.T) {
	for _, c := range [][2]string{
		{`"config":`, `"config":{},"config":`},
		{`"sector_size":4096`, `"sector_size":4096,"sector_size":512`},
		{`"store":"local"`, `"store":"\u0000"`},
		{`"sector_size":4096`, `"sector_size":null`},
	} {
		dev := created(t)
		forge(t, dev, c[0], c[1])
		_, err := open(dev, keyA, false)
		wantErr(t, err, ErrCorrupt, "JSON")
	}
}
