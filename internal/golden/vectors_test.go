package golden

import (
	"bytes"
	"encoding/hex"
	"os"
	"testing"

	"coffer/seal"
)

func document(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// vectorID is the bytes f0, f1, ... ff.
func vectorID() (id seal.RepositoryID) {
	for i := range id {
		id[i] = byte(0xf0 + i)
	}
	return id
}

// vectors computes what chapter 16 of docs/format.md says, with package seal.
func vectors(t testing.TB) []string {
	t.Helper()
	var master seal.Master
	for i := range master {
		master[i] = byte(i)
	}
	nonce := make([]byte, 24)
	for i := range nonce {
		nonce[i] = byte(0x40 + i)
	}
	box, err := seal.NewBox(master.Keys(vectorID()), bytes.NewReader(bytes.Repeat(nonce, 2)), seal.Off, 1)
	if err != nil {
		t.Fatal(err)
	}
	block, err := box.SealBlock(nil, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := box.SealRecord("generations/0000000000", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	lookup := master.Keys(vectorID()).LookupKey()
	secret := seal.Secret{Kind: seal.KeyFile, Value: master[:]}
	salt := bytes.NewReader(make([]byte, 32+24))
	slot, err := seal.Wrap(salt, "0", master, secret, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return []string{hex.EncodeToString(block[24:]), hex.EncodeToString(record[24:]), hex.EncodeToString(lookup[:]),
		hex.EncodeToString(slot.Commitment), seal.FormatRecovery(secret)}
}
