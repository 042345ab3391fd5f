package io.dsmstt;

import io.dsmstt.speech.v1.AudioEncoding;
import java.time.Duration;

/**
 * What the bytes of audio are.
 *
 * @param encoding how samples are written
 * @param sampleRate samples a second, 8000 to 48000; 0 for encodings that carry their own
 * @param channels 1 or 2, interleaved; 0 where the encoding says it
 */
public record AudioFormat(Encoding encoding, int sampleRate, int channels) {
  /** How samples are written. */
  public enum Encoding {
    /** Found out from the file; for recordings. */
    FROM_FILE(AudioEncoding.AUDIO_ENCODING_UNSPECIFIED, 0),
    /** Signed 16-bit little-endian samples without a header. */
    LINEAR16(AudioEncoding.AUDIO_ENCODING_LINEAR16, 2),
    /** 32-bit little-endian samples in [-1, 1] without a header. */
    FLOAT32(AudioEncoding.AUDIO_ENCODING_FLOAT32, 4),
    /** G.711 mu-law. */
    MULAW(AudioEncoding.AUDIO_ENCODING_MULAW, 1),
    /** G.711 A-law. */
    ALAW(AudioEncoding.AUDIO_ENCODING_ALAW, 1),
    /** Opus in an Ogg container. */
    OGG_OPUS(AudioEncoding.AUDIO_ENCODING_OGG_OPUS, 0),
    /** For recordings. */
    WAV(AudioEncoding.AUDIO_ENCODING_WAV, 0),
    /** For recordings. */
    FLAC(AudioEncoding.AUDIO_ENCODING_FLAC, 0),
    /** For recordings. */
    MP3(AudioEncoding.AUDIO_ENCODING_MP3, 0);

    private final AudioEncoding proto;
    private final int sampleBytes;

    Encoding(AudioEncoding proto, int sampleBytes) {
      this.proto = proto;
      this.sampleBytes = sampleBytes;
    }
  }

  /** Whatever the recording's own header says. */
  public static final AudioFormat FROM_FILE = new AudioFormat(Encoding.FROM_FILE, 0, 0);

  /** Returns one channel of signed 16-bit little-endian samples. */
  public static AudioFormat linear16(int sampleRate) {
    return new AudioFormat(Encoding.LINEAR16, sampleRate, 1);
  }

  io.dsmstt.speech.v1.AudioFormat proto() {
    return io.dsmstt.speech.v1.AudioFormat.newBuilder()
        .setEncoding(encoding.proto)
        .setSampleRateHertz(sampleRate)
        .setChannels(channels)
        .build();
  }

  /** Says whether a number of bytes is a time. */
  boolean timed() {
    return encoding.sampleBytes > 0 && sampleRate > 0;
  }

  private long blockBytes() {
    return (long) encoding.sampleBytes * Math.max(channels, 1);
  }

  long bytesOf(Duration duration) {
    long samples = duration.getSeconds() * sampleRate + (long) duration.getNano() * sampleRate / 1_000_000_000L;
    return samples * blockBytes();
  }

  Duration durationOf(long bytes) {
    long samples = bytes / blockBytes();
    return Duration.ofSeconds(samples / sampleRate, samples % sampleRate * 1_000_000_000L / sampleRate);
  }
}
