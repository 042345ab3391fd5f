// Package wav reads the WAV files that the examples and the tests stream.
package wav

import (
	"encoding/binary"
	"fmt"
)

// Recording is 16-bit PCM.
type Recording struct {
	SampleRate int
	Channels   int
	Samples    []byte
}

// Parse takes a WAV file apart. Only 16-bit PCM can be streamed without a decoder.
func Parse(file []byte) (*Recording, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, fmt.Errorf("wanted a WAV file")
	}
	recording := &Recording{}
	for rest := file[12:]; len(rest) >= 8; {
		name, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:8]))
		body := rest[8:min(len(rest), 8+size)]
		switch name {
		case "fmt ":
			if len(body) < 16 {
				return nil, fmt.Errorf("wanted a WAV file, its fmt chunk is cut off")
			}
			encoding, bits := binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[14:])
			if encoding != 1 || bits != 16 {
				return nil, fmt.Errorf("wanted 16-bit PCM, got encoding %d with %d bits", encoding, bits)
			}
			recording.Channels = int(binary.LittleEndian.Uint16(body[2:]))
			recording.SampleRate = int(binary.LittleEndian.Uint32(body[4:]))
		case "data":
			recording.Samples = body
		}
		rest = rest[min(len(rest), 8+size+size%2):]
	}
	if recording.SampleRate == 0 || recording.Samples == nil {
		return nil, fmt.Errorf("wanted a WAV file with a fmt and a data chunk")
	}
	return recording, nil
}
