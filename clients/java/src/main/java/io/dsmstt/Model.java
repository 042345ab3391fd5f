package io.dsmstt;

import java.time.Duration;
import java.util.List;

/**
 * What a service can be asked for.
 *
 * @param name to be given in configs
 * @param languageCodes what it transcribes
 * @param delay the time between a sound and its word
 * @param pauseHorizons empty for models without pause heads
 * @param isDefault the model of a config that names none
 * @param trained false for seeded weights that never saw speech
 * @param slotsTotal sessions at once
 * @param slotsFree how many of them are free
 */
public record Model(
    String name,
    List<String> languageCodes,
    Duration delay,
    List<Duration> pauseHorizons,
    boolean isDefault,
    boolean trained,
    int slotsTotal,
    int slotsFree) {}
