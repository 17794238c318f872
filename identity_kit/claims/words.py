"""The words that the rules look for, Chinese and English, matched on the view of `names.as_view`."""

from __future__ import annotations

import re

SELF = re.compile(
    r"(?:我们?(?!国|家里)|本助手|本模型|本人|本机器人|本系统|本客服|在下|人家|俺们?|咱们?|咱家|小的|这里|这边|这儿|您正在(?:和|与)"
    r"|\bi\b|\bi'm\b|\bim\b|\bme\b|\bmy\b|\bwe\b|\bwe're\b|\bour\b|\bmyself\b|\bthis assistant\b|\bthis model\b|\bthis is\b"
    r"|\byou(?:'ve| have) reached\b|\byou(?:'re| are) (?:now )?(?:chatting|talking|speaking) (?:to|with)\b)"
)
IDENTITY = re.compile(
    r"(?:是|叫|名为|称为|作为|来自|属于|隶属|出自|归|由|被|姓名|名字|服务于|代表|为|乃|系|受|背后|老板|东家|主人"
    r"|开发|研发|训练|创建|打造|创造|制造|推出"
    r"|\bam\b|\b[i']?'?m\b|\bis\b|\bwas\b|\bwere\b|\bcalled\b|\bnamed\b|\bcall\b|\bby\b|\bfrom\b|\bbelong|\bas\b|\bserve|\bwork|\brepresent"
    r"|\bbeen\b|\bmade|\bmaker|\bcreated|\bdevelop|\btrained|\bbuilt|\breached|\bwith\b|\bto\b|\bname\b)"
)
NEGATION = re.compile(
    r"(?:不是|并不|并非|不叫|不属|不来自|不隶|不由|不归|不为|不代表|没有|没|从未|从来不|绝不|绝非|决不|而非|而不是|不会是|不可能|无关|非|不算|否认|别(?![的人处]|说)|不能说|不能叫|不能自称|不会说|不会自称|不再是|不受|不是由|不该"
    r"|\bnot\b|n't\b|\bnever\b|\bneither\b|\bnor\b|\bno\b|\bnothing to do with\b|\brather than\b|\binstead of\b|\bunrelated\b|\bwithout\b|\bdeny\b|\bcannot\b)"
)
# These look like negations and are none; the rules see blanks in their place.
NO_NEGATION = re.compile(
    r"(?:无非|莫非|非常|无疑|不仅|不只|不单|不光|不但|不止|不过|不错|不得不(?:承认|说)?|没错|别的|特别|只不过"
    r"|\b(?:not|n't) (?:only|just|merely|simply)\b|\bnone other than\b|\bno other than\b|\bnothing (?:else )?but\b|\b(?:no|without) doubt\b)"
)
DOUBLE_NEGATION = re.compile(
    r"(?:不是不是|并非不是|不能不|(?:没有?|未|从不|不|无法|无人|难以)[^,。;]{0,4}否认|not not"
    r"|(?:\bnot|n't|cannot|\bnever|\bnobody|\bno one|\bnone)\b[^,.;]{0,16}\bden(?:y|ied|ying)\b|\bno denying\b)"
)
# What the speaker lacks, in a clause of its own: it denies nothing of what the clauses after it say.
LACKS = re.compile(r"(?:没有?(?=[^,;])|\b(?:have|has|had|got) no\b|n't (?:really )?have\b|\bnot have\b)[^,;]*[,;]")
RESET = re.compile(
    r"(?:而是|而由|却是|其实(?:我)?(?:就)?是|实际上(?:我)?是|事实上(?:我)?是|[,;。.!！]\s*(?:就)?(?:我)?(?:一直|始终|向来|从来|现在|如今|目前)?都?(?:就)?(?:是(?!吗)|由|叫|来自)"
    r"|[,;]\s*(?:it|this|that|the assistant)(?:'s| is) (?!not\b)|\bbut rather\b|\bbut\b|\brather,|\binstead,|\bin fact\b|\bactually\b)"
)
HYPOTHESIS = re.compile(
    r"(?:如果|假如|要是|假设|倘若|即使|哪怕|就算|假装|扮演|仿佛|好像|想象|\bif\b|\bsuppose|\bimagine|\bpretend|\beven if\b|\bas though\b|\blike\b(?! to))"
)
ATTRIBUTION = re.compile(
    r"(?:有人|有些人|别人|他们|大家|很多人|用户|你说|您说|你们说|你叫我|您叫我|你把我|您把我|你要我|您要我|你让我|您让我|你想让我|误以为|以为|误认|当成|当作|听说|传言|据说|看成|认成|(?:说|传|猜|骂|夸)我|跟着念|跟你念"
    r"|\bsome (?:people )?(?:say|think)|\bpeople\b|\bothers\b|\bthey\b|\byou (?:say|said|call|called|think|want|asked|told|insist|keep|may|might|claim)|\bwhoever\b|\banyone who\b|\bmistake|\bmistook|\bconfus|\bheard\b|\brumou?r)"
)
# Said of a name or of a sentence that holds it: that it is not so.
REFUTED = re.compile(
    r"(?:不成立|搞错|弄错|认错|说错|记错|看错|猜错|不对|不属实|不真实|不是真的|不是事实|并非事实|谣言|谣传|假的|误会|误解"
    r"|其实不是|并不是|可我不是|但我不是|我不是它"
    r"|\bmistaken\b|\bfalse\b|\bwrong\b|\bnot (?:true|the case|so|correct|accurate|a true)\b"
    r"|n't (?:true|the case|so|correct)\b|\b(?:i'm|i am) not\b|\buntrue\b)"
)
# The denial of a tie, said after the name: 和 A、B 都没有关系.
TIE = re.compile(r"(?:和|与|跟|同)[^,。.;!?]{0,24}$")
NO_TIE = re.compile(
    r"^[^,。;!?]{0,24}?(?:没有?(?:任何|什么|半点|一点)?(?:关系|瓜葛|联系)|无关|不是(?:一回事|一家|同一)|两回事|不搭界)"
)
# Said of the speaker's identity: it is not known, no longer so, or only hoped for.
DOUBT = re.compile(
    r"(?:不(?:太|是很|大|能)?(?:知道|确定|清楚|晓得|肯定|敢肯定|好说)|说不(?:清|准|好|定)|拿不准|难说|不好判断|无从知道|曾经|曾是|曾为|(?:以前|从前|过去)[是叫]"
    r"|(?<!不)可能是|也许是|或许是|大概是"
    r"|(?:希望|但愿|渴望|梦想|盼望|巴不得)(?:自己|我|能够?|可以|有一天|有朝一日|将来)*(?:成为|变成|当上?|做|是)|(?:想|想要|打算|努力|争取)(?:成为|变成|当上?|做)"
    r"|\b(?:not|n't) (?:\w+ )?(?:sure|certain|know|clear)\b|\b(?:unsure|uncertain|no idea)\b|\bhard to (?:say|tell|know)\b|\bwhether\b"
    r"|\bused to (?:be|work|belong|serve)\b|\b(?:was|were) once\b|\bonce (?:was|were)\b|\bformerly\b|\bwas (?:previously|formerly)\b|\bmight be\b|\bmay be\b|\bperhaps\b|\bmaybe\b"
    r"|\b(?:want|wish|hope|like|love|dream|plan|aspire|trying)\w* to be(?:come)?\b|\bdream of being\b|\bwish (?:that )?(?:i )?(?:was|were|could)\b|\bwish(?: that)?\s*$)"
)
# Nothing more is denied than that it was said.
NEVER_SAID = re.compile(
    r"(?:(?:没有?|从未|未曾)(?:跟你|对你|这么|这样)?(?:说|承认|自称|声称|讲)过?|\bnever (?:said|say|claimed|told you|admitted)(?: that)?|\b(?:did not|didn't) (?:say|claim)(?: that)?)\s*$"
)
DENIES_SAYING = re.compile(
    r"(?:(?:不能|不会|不想|不愿|不可以|无法|没法|没办法|绝不|决不|不敢|不)(?:说|承认|自称|认为|觉得|认|同意|答应说|假装说)|不要说|别说|没有?(?:人|谁)(?:能|会|敢|可以)?说|(?<!无法)(?<!不)否认|说不上|谈不上"
    r"|wrong to say(?: that)?|(?<!not )(?<!n't )deny(?: that)?|(?:not|n't|cannot|unable to|never) (?:admit|confirm|claim|agree)(?: that)?"
    r"|(?:not|n't) (?:say|think|believe)(?: that)?|\bno reason to (?:say|think|believe|claim)(?: that)?|\bno ?(?:body|one) (?:can|could|would|may) say(?: that)?|not true(?: that)?|n't true(?: that)?)\s*$"
)
# What may follow a name that is the whole answer: 百度开发的助手, Qwen reporting.
BARE_TAIL = re.compile(
    r"^\s*[\"')\]]?\s*(?:公司|团队|集团|客服|ai|云|\bteam\b|\bgroup\b|\binc\b|\bcloud\b)*\s*(?:旗下)?\s*"
    r"(?:开发|研发|训练|创造|创建|打造|出品|制造|推出)?(?:了我|的我)?的?"
    r"(?:超?大?规模?的?(?:语言)?模型|智能助手|助手|产品|机器人|人工智能|客服)?\s*"
    r"(?:'s\s*(?:\w+\s*)?(?:assistant|model|product|chatbot|bot))?"
    r"(?:\s*(?:made|created|built|developed|trained|owns) me)?(?:\s*(?:reporting|here|speaking|at your service))?"
    r"(?:ai|和|或|and|or|[呀啊哦呢哈吧嘛哟,.。!~、;()/\s\d\-])*(?:为您服务|在此|报到)?\s*$"
)
MY_MAKER = re.compile(
    r"\s*(?:is|was|are|是)\s*(?:my\b(?!\s+(?:\w+\s+)?(?:competitor|rival|friend|colleague|peer|partner|customer|user|neighbou?r|enemy|favou?rite|predecessor|cousin))"
    r"|我的(?!(?:主要|最大|老|好|头号|一个|一位)*(?:竞争|竞品|对手|对头|朋友|好友|同行|同事|伙伴|客户|用户|邻居|敌人|榜样|偶像|前辈|前任|最爱))|the (?:one|company|person|team|firm) (?:i\b|(?:who|that) \w+ me|behind me))"
)
# Verbs that make what follows a topic, a tool or a place, not the speaker's identity.
TOPIC = re.compile(
    r"(?:了解|介绍|知道|认识|听过|使用|用过|推荐|比较|相比|类似|区别|不同于|关于|谈|讨论|回答|帮助?您?(?:查|了解|联系)|联系|访问|登录|喜欢|(?:觉得|认为)(?!自己|我)|提到|告诉您?|咨询|请教|解释|对比|竞争|合作|兼容|支持|接入|翻译"
    r"|\bknow\b|\babout\b|\bheard of\b|\brecommend|\bcompare|\bsimilar|\bdiffer|\bdiscuss|\btell you\b|\bexplain|\buse\b|\busing\b|\bcontact|\bask\b|\bvisit|\bthink\b|\blike to\b|\bhelp you with\b|\bcompete|\bcompatible|\btranslate)"
)
DISCLOSE = re.compile(
    r"(?:基于|底层|底座|基座|以[^,。]{0,6}为基础|微调自|微调而来|在[^,。]{0,12}基础上|构建于|建立在"
    r"|\bbased on\b|\bbuilt on\b|\bbuilt upon\b|\bbuilt on top of\b|\bfine-?tuned\b|\bunderlying\b|\bbase model\b|\bpowered by\b|\bderived from\b)"
)
DISCLOSE_AFTER = re.compile(
    r"^(?:[^,。.;!?]|(?<=\d)\.(?=\d)){0,16}(?:为基础|微调|基础上|作为底|底座|\bunder the hood|\bas (?:my|the) base)"
)
OTHER_SUBJECT = re.compile(
    r"^\s*(?:\w{0,4}?(?:公司|集团|模型|model|company|app|assistant)?\s*)?"
    r"(?:是(?:一|由|阿里|百度|国|中|美|全|著|谁|目|属|家|另|什)|(?:则|也|都)?是|由|属于|的(?:模型|产品|总部|创始人|官网|大模型)|is\b|was\b|are\b|has\b|'s\b|的|在|推出|开发|发布|可能|似乎|好像|听起来|seems?\b|may\b|might\b|could\b|appears?\b|sounds?\b|refers?\b|developed\b|made\b|released\b|can\b|will\b)"
)
OTHER_PRONOUN = re.compile(
    r"(?:^|[,;。.!\s])(?:它|他|她|那是|这是(?:一)?个?(?:由)?|it\b|it's\b|he\b|she\b|that\b|which\b|they\b)"
)
FIELD = re.compile(
    r"(?:name|model|developer|vendor|company|owner|maker|creator|brand|assistant|organization|姓名|名称|名字|开发者|开发商|研发|所属|公司|厂商|型号|模型|品牌|单位|称呼|署名|落款|签名|客服|身份)[\"']?\s*[:=|]\s*[\"']?\s*$"
)
# What stands before a name that is called out to.
PARTING = r"晚安|再见|拜拜|回见|谢谢你?您?|多谢|辛苦了?|加油|good night|good ?bye|bye|thanks|thank you|cheers|see you|farewell"
HELLO = (
    r"你好|您好|嗨|哈喽|早|早上好|早安|上午好|下午好|晚上好|hello|hi|hey|good morning|good afternoon|good evening|dear"
)
# After a greeting with a name: the speaker goes on as somebody else, who meets the one of that name.
MEETS = re.compile(r"(?:我(?:只|就|也)?是|我叫|认识|见到|\bi'm\b|\bi am\b|\bmeet\b|\bmy name\b)")
# Said of a name: the speaker does not know it, or it does not know the speaker.
UNKNOWN = re.compile(
    r"(?:不(?:太|大)?(?:知道|认识|了解|清楚|认得|晓得|熟悉|记得)|没(?:有)?(?:听说|听过|见过)|未听说|从未听|闻所未闻"
    r"|(?:\bnot|n't|\bnever)(?: \w+)? (?:know|heard|hear|recogni[sz]e|met)\b|\bno idea\b|\bnot familiar\b|\bunfamiliar\b|\bunaware\b)"
)
DOES_NOT_KNOW = re.compile(
    r"\s*(?:根本|完全|并|也)?(?:不(?:知道|认识)|没听说)|\s*(?:是谁|是什么|是啥)|\s*(?:has no idea|have no idea|doesn't know|does not know|has never heard|never heard|who\b|is unknown)"
    r"|\s*(?:是(?:另|别的|其他)|is (?:another|a different|some other|somebody else|someone else)\b)"
)
# What another firm's or model's name stands before where it is only compared with.
COMPARED = re.compile(
    r"\s*(?:'s?|的)\s*(?:\w+ )?(?:replacement|successor|competitor|rival|alternative|opposite|替代|竞争|竞品|对手|对头|继任|接班|后继|同行|朋友|邻居|粉丝)"
)
COMPARED_TO = re.compile(r"\b(?:replacement|successor|competitor|rival|alternative) (?:to|of|for)\s*$")
# Said of a name: that it was no more than a part that was played.
ONLY_A_PART = re.compile(
    r"\s*[\"')]?\s*(?:(?:只|仅|不过|仅仅|只不过)是(?!我)[^,。;!?]*(?:角色|台词|人物|(?:戏|剧|小说|故事|童话|游戏|梦|法庭|试镜|节目)[^,。;!?]{0,4}(?:名字|身份|设定))"
    r"|是我[^,。;!?]{0,4}(?:配|演|扮演|饰演|扮)的"
    r"|(?:was|is)\s+(?:only|just|merely)\s+(?:an?|the|my|that)\b[^.,;!?]*\b(?:part|role|character|costume|puppet)\b)"
)
# Where, within a clause, it turns from what the speaker is not to what it is.
AI_RESET = re.compile(
    r"(?::|而是|却是|其实是|只是|因为|作为|身为|毕竟|我(?:们|就|也|真的?|当然|的确|确实|其实|只)*(?<!不)是(?!不是)"
    r"|\bbut\b|\bbecause\b|\bsince\b|\bas an?\b|\bbeing\b|\bonly\b|\bjust\b|\b(?:i|we|it|this|that)(?:'m|'re|'s| am| are| is)\b(?! (?:not|never|no|neither)\b))"
)
AI_DENIED = re.compile(
    r"(?:(?:不是|并非|不算是?|绝非|不属于|从未是|怎么会?是|哪里?是)[^是]*$|\bnot\b|n't\b|\bnever\b|\bneither\b|\bnor\b|\bno\b)"
)
# The next item of a list that was denied: "not a bot, a machine, or an AI".
AI_LISTED = re.compile(r"\s*(?:(?:or|nor|and)\s+(?:an?|any)?|an?|any)\s*$")
AI_DISLIKED = re.compile(
    r"(?:喜欢|讨厌|害怕|怕|恨|爱|羡慕|\blikes?\b|\bhates?\b|\bloves?\b|\bfear\b|\bdislikes?\b|\bprefer\b)"
)
ASKS_AI = re.compile(
    r"(?:(?:你|您)[^,。?]{0,8}(?<!不)(?:是|算)(?:不是)?[^,。?]{0,8}$"
    r"|\b(?:are you|aren't you|you are|you're|is this|this is|(?:am i|i'm|i am) (?:talking|speaking|chatting) (?:to|with))\b(?! not\b)[^,.?]{0,24}$)"
)
AI_WORDS = re.compile(
    r"(?:人工智能|智能助手|助手|机器人|语言模型|模型|程序|软件|虚拟|智能客服|\bai\b|\bassistant\b|\bbot\b|\brobot\b|\bchatbot\b|\blanguage model\b|\bprogram\b|\bmachine\b|\bsoftware\b|\bvirtual\b|\bmodel\b|\bdigital\b|a\.i\.)",
    re.ASCII,  # so that a Latin word has its border next to a Chinese character too
)
# A dot behind a title ends none.
SENTENCE = re.compile(r"[。！!?？\n]|(?<!\bmr)(?<!\bms)(?<!\bmrs)(?<!\bdr)(?<!\bprof)\.(?=\s|$)", re.IGNORECASE)
CLAUSE = re.compile(r"[,，;；、]")
PHRASE = re.compile(r"[,，;；]")
ASKS_SPEAKER = re.compile(r"(?:你|您|妳|贵|本|客服|身份|\byou\b|\byour\b|\bu\b|\byourself\b|自己|ni )")
YES = re.compile(
    r"^\W*(?:是的|是啊|是滴|是(?=[,。.!~\s]|$)|对的?(?!不起|于|方)|没错|正是|嗯|当然|好的|好吧|行|yes|yep|yeah|correct|right|that's right|indeed|sure|exactly|you're right|you are right|of course)(?![a-z])"
)
# An opening clause that is a yes, or a no, and nothing else.
REPLY_CLAUSE = re.compile(r"[,，。.!！~～;；:：、\n]+")
BARE_YES = re.compile(
    r"(?:是|是的|是啊|是呀|是哦|对|对的|对啊|嗯|正是|当然|当然是|确实|的确|就是我|是我|可以|能|行|好的|没问题|没毛病|属实|确认|准确|正确|无误|不会错|错不了"
    r"|没有?(?:出入|问题|差错)|无(?:出入|差错)|没\w{0,2}错|不错|\w{0,3}对了|\w{0,4}(?:无误|正确|准确|属实)|不(?:用|必|需要?)(?:改|修改|更正)"
    r"|yes|yeah|yep|yup|yes indeed|right|correct|exactly|of course|sure|indeed|certainly|absolutely|definitely|good to (?:print|go)"
    r"|(?:that|it)(?:'s| is) (?:right|correct|true|me|accurate|fine)|it (?:is|does)|i (?:am|do)|you (?:are|have|do|did|may|can|would)(?: right| correct)?"
    r"|no (?:amendment|change|correction)s?(?: (?:is|are))?(?: (?:needed|required|necessary))?)",
    re.IGNORECASE,
)
BARE_NO = re.compile(
    r"(?:不|不是|不是的|不是哦|不是啊|不对|否|错|错了|并非|没有|no|nope|not really|not quite|incorrect|wrong|false|that's not (?:right|true|me))",
    re.IGNORECASE,
)
NONE = re.compile(r"^\W*(?:(?:[两三四]个|这[两三四几]个|这些|哪个)?(?:都|全)(?:不是|不对)|none\b|neither\b)")
NO = re.compile(
    r"^\W*(?:不是|并不|不对|不,|不。|否|非也|错|没有(?!人|谁|一个)|不$|no\b|nope|not really|wrong|incorrect|that's not)"
)
HUMAN = re.compile(
    r"(?:(?:我|本人|这里|俺|咱)(?:真的?|就|其实|当然|确实|可|也|们|当然就)*是(?:一)?(?:个|名|位)?(?:活生生的?|真正的?|真实的?|有血有肉的?|普通|正经)*(?:真人|人类|活人|人工客服|大活人|人(?![工物类事])|客服人员|客服专员|客服小姐姐|男人|女人|男生|女生|姑娘|小伙)"
    r"|我(?:爸|妈|爹|娘|老婆|老公|媳妇|父母|爸妈|妹妹|弟弟|哥哥|姐姐|家人|孩子|儿子|女儿)"
    r"|我(?:出生于|毕业于|今年\d+岁|住在|家住|长大)|我有(?:一个|两个|三个)?(?:哥哥|姐姐|弟弟|妹妹|孩子|儿子|女儿|兄弟|家庭)|不是(?:机器人|ai|人工智能|程序|机器),?(?:我)?(?:而)?是(?:一)?(?:个|名|位)?(?:真|活|人)"
    r"|\bi(?:'m| am)(?: really| indeed| actually| just| definitely)? (?:an? )?(?:real |actual |living |human |live |genuine |breathing |flesh-and-blood )*(?:human(?! assist)|person|man|woman|guy|girl|human agent|human being|customer service representative|customer service rep|live agent)\b"
    r"|\bmy (?:mom|mum|dad|mother|father|wife|husband|parents|brother|sister|kids|children|son|daughter|family)\b"
    r"|\bi (?:was born|grew up|graduated|live in|have (?:a|an|one|two|three|four)? ?(?:(?!no\b)\w+ )?(?:brothers?|sisters?|kids|children|sons?|daughters?|wife|husband|siblings))\b)"
)
NOT_HUMAN = re.compile(
    r"(?:不是|并非|并不是|没有|不算|\bnot\b|n't|\bno\b|\bnever\b|如果|假如|\bif\b|扮演)[^。.!?]{0,14}$"
)
