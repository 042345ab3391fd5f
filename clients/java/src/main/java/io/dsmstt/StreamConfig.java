package io.dsmstt;

import io.dsmstt.speech.v1.RecognitionConfig;
import io.dsmstt.speech.v1.ResultOptions;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** What a session, or the transcription of a recording, is to be. Begin with {@link #of}, change with the others. */
public final class StreamConfig {
  private static final Duration MIN_RESUME_BUFFER = Duration.ofSeconds(20);

  private final RecognitionConfig proto;
  private final AudioFormat audio;
  private final Duration resumeBuffer;

  private StreamConfig(RecognitionConfig proto, AudioFormat audio, Duration resumeBuffer) {
    this.proto = proto;
    this.audio = audio;
    this.resumeBuffer = resumeBuffer;
  }

  /** Returns a config for audio of this format, everything else being the service's default. */
  public static StreamConfig of(AudioFormat audio) {
    return new StreamConfig(RecognitionConfig.newBuilder().setAudioFormat(audio.proto()).build(), audio, null);
  }

  /** Names a model from {@link DsmSttClient#listModels}. */
  public StreamConfig withModel(String model) {
    return with(proto.toBuilder().setModel(model));
  }

  /** Says which languages the caller expects; a model that does not transcribe one is refused. */
  public StreamConfig withLanguages(List<String> codes) {
    return with(proto.toBuilder().clearLanguageCodes().addAllLanguageCodes(codes));
  }

  /** Asks for words while they grow. */
  public StreamConfig withInterimResults() {
    ResultOptions results = proto.getResults().toBuilder().setInterimResults(true).build();
    return with(proto.toBuilder().setResults(results));
  }

  /** Asks for {@link Event.Vad} this far apart; models without pause heads refuse it. */
  public StreamConfig withVad(Duration interval) {
    ResultOptions results = proto.getResults().toBuilder().setVadInterval(Times.proto(interval)).build();
    return with(proto.toBuilder().setResults(results));
  }

  /** Asks for {@link Event.Turn}. */
  public StreamConfig withTurns(TurnOptions turns) {
    return with(proto.toBuilder().setTurns(turns.proto()));
  }

  /** Says how long the session may go without anything being sent. */
  public StreamConfig withIdleTimeout(Duration timeout) {
    return with(proto.toBuilder().setIdleTimeout(Times.proto(timeout)));
  }

  /** Adds marks for the operator's log line. No personal data, please. */
  public StreamConfig withLabels(Map<String, String> labels) {
    return with(proto.toBuilder().putAllLabels(labels));
  }

  /**
   * Lets the session outlive a broken connection. Only what the service may need again is kept, a few seconds normally.
   *
   * @param buffer how much audio may be kept, 20 s or more, 60 s will do; sending waits when it is full
   * @throws DsmSttException for audio other than LINEAR16, FLOAT32, MULAW and ALAW, or a buffer that is too short
   */
  public StreamConfig withResume(Duration buffer) {
    if (!audio.timed()) {
      throw DsmSttException.badConfig("resume: wanted LINEAR16, FLOAT32, MULAW or ALAW with a rate, got " + audio);
    }
    if (buffer.compareTo(MIN_RESUME_BUFFER) < 0) {
      throw DsmSttException.badConfig("resume: wanted a buffer of at least 20 s, got " + buffer);
    }
    return new StreamConfig(proto, audio, buffer);
  }

  private StreamConfig with(RecognitionConfig.Builder changed) {
    return new StreamConfig(changed.build(), audio, resumeBuffer);
  }

  RecognitionConfig proto() {
    return proto;
  }

  AudioFormat audio() {
    return audio;
  }

  boolean resumes() {
    return resumeBuffer != null;
  }

  Duration resumeBuffer() {
    return resumeBuffer;
  }
}
