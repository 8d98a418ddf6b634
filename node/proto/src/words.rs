//! Words to compare: 256 plain English nouns, a byte each. Changing one changes what people compare.

/// The words, by byte.
pub const WORDS: [&str; 256] = [
    "acorn", "actor", "adult", "agent", "album", "alley", "amber", "anchor", "angel", "ankle",
    "apple", "apron", "arena", "arrow", "atlas", "attic", "autumn", "bacon", "badge", "baker",
    "bamboo", "banana", "banjo", "barley", "barrel", "basil", "basket", "beach", "beacon",
    "beaver", "beetle", "berry", "bicycle", "bishop", "blanket", "blossom", "boat", "bonfire",
    "border", "bottle", "bread", "breeze", "brick", "bridge", "brush", "bucket", "butter",
    "button", "cabin", "cactus", "camel", "camera", "candle", "canoe", "canvas", "carpet",
    "carrot", "castle", "cedar", "cellar", "chalk", "cherry", "chess", "chimney", "cider",
    "circus", "citrus", "clover", "cobweb", "coconut", "coffee", "comet", "compass", "copper",
    "coral", "cotton", "cousin", "cradle", "crane", "cricket", "crown", "crystal", "curtain",
    "dagger", "dairy", "daisy", "dancer", "desert", "diamond", "dinner", "doctor", "dolphin",
    "donkey", "dragon", "drum", "eagle", "earth", "easel", "elbow", "ember", "engine", "fabric",
    "falcon", "feather", "fence", "fern", "ferry", "fiddle", "field", "flame", "flute", "forest",
    "fossil", "fountain", "fox", "friend", "frost", "garden", "garlic", "gate", "ginger",
    "glacier", "globe", "glove", "goose", "grain", "granite", "guitar", "hammer", "harbor",
    "harvest", "hazel", "helmet", "heron", "hill", "honey", "horizon", "hotel", "island", "ivory",
    "jacket", "jasmine", "jewel", "jungle", "kayak", "kettle", "kitchen", "kite", "ladder",
    "lagoon", "lamp", "lantern", "laundry", "lemon", "library", "lizard", "lobster", "lotus",
    "magnet", "mango", "maple", "marble", "meadow", "melon", "mirror", "monkey", "morning",
    "mountain", "museum", "mustard", "napkin", "needle", "nephew", "nutmeg", "oasis", "ocean",
    "olive", "onion", "orange", "orchard", "otter", "oyster", "paddle", "palace", "paper",
    "parrot", "pasture", "peach", "pebble", "pencil", "pepper", "piano", "pigeon", "pillow",
    "pilot", "pine", "planet", "plum", "pocket", "pony", "potato", "prairie", "pumpkin", "puppet",
    "puzzle", "quartz", "quilt", "rabbit", "raven", "ribbon", "river", "robin", "rocket", "saddle",
    "sailor", "salad", "salmon", "sandal", "satin", "shadow", "shelter", "silver", "singer",
    "skater", "spoon", "squirrel", "stable", "station", "stone", "summer", "sunset", "table",
    "teapot", "temple", "thunder", "ticket", "tiger", "timber", "tomato", "tower", "trumpet",
    "tulip", "tunnel", "turtle", "umbrella", "valley", "velvet", "violin", "voyage", "walnut",
    "water", "whale", "willow", "window", "winter", "zebra",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_distinct() {
        assert!(WORDS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
