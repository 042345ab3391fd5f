package dsmstt

import (
	"time"

	speechv1 "github.com/dsm-stt/dsm-stt/clients/go/gen/dsm_stt/speech/v1"
)

// Encoding is how audio is written as bytes.
type Encoding int

// The encodings. The zero value lets Recognize find out from the file; a stream needs one of the first five.
const (
	// Linear16 is signed 16-bit little-endian samples without a header.
	Linear16 = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_LINEAR16)
	// Float32 is 32-bit little-endian samples in [-1, 1] without a header.
	Float32 = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_FLOAT32)
	// MuLaw is G.711 mu-law.
	MuLaw = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_MULAW)
	// ALaw is G.711 A-law.
	ALaw = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_ALAW)
	// OggOpus is Opus in an Ogg container.
	OggOpus = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_OGG_OPUS)
	// WAV is for Recognize only.
	WAV = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_WAV)
	// FLAC is for Recognize only.
	FLAC = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_FLAC)
	// MP3 is for Recognize only.
	MP3 = Encoding(speechv1.AudioEncoding_AUDIO_ENCODING_MP3)
)

// AudioFormat says what the bytes of audio are.
type AudioFormat struct {
	Encoding Encoding
	// SampleRate is in samples a second, 8000 to 48000; 0 for encodings that carry their own.
	SampleRate int
	// Channels is 1 or 2, interleaved; 0 means 1.
	Channels int
}

func (f AudioFormat) proto() *speechv1.AudioFormat {
	return &speechv1.AudioFormat{
		Encoding:        speechv1.AudioEncoding(f.Encoding),
		SampleRateHertz: uint32(f.SampleRate),
		Channels:        uint32(f.Channels),
	}
}

// blockBytes is the size of one sample of all channels; 0 where bytes say nothing of time.
func (f AudioFormat) blockBytes() int64 {
	width := map[Encoding]int64{Linear16: 2, Float32: 4, MuLaw: 1, ALaw: 1}[f.Encoding]
	return width * int64(max(f.Channels, 1))
}

// bytesOf is how many bytes so much audio has, in whole samples, rounded down.
func (f AudioFormat) bytesOf(d time.Duration) int64 {
	seconds, rest := d/time.Second, d%time.Second
	samples := int64(seconds)*int64(f.SampleRate) + int64(rest)*int64(f.SampleRate)/int64(time.Second)
	return samples * f.blockBytes()
}

// durationOf is the inverse of bytesOf, rounded down.
func (f AudioFormat) durationOf(bytes int64) time.Duration {
	samples := bytes / f.blockBytes()
	rate := int64(f.SampleRate)
	return time.Duration(samples/rate)*time.Second + time.Duration(samples%rate)*time.Second/time.Duration(rate)
}
